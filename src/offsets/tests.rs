//! Stores that were left in every way, opened again.

use std::collections::BTreeMap;
use std::fs;

use super::opening::STORE_FOLDER;
use super::snapshot::SNAPSHOT_FILE;
use super::*;

const RUN: u128 = 7;

fn row(watermark: u64) -> Row {
    Row {
        flow: "access".to_owned(),
        path: "/var/log/access.log".to_owned(),
        identity: Identity {
            place: Some(Place { device: 1, inode: 2, created: Some(3) }),
            fingerprint: Fingerprint { byte_count: 3, hash: 4 },
            mark: Mark { end: 4, byte_count: 4, hash: 5 },
            byte_count: 30,
            is_superseded: false,
        },
        gone_at: None,
        watermark,
        settled_above: vec![(watermark + 10, watermark + 20)],
    }
}

fn sending(run_id: u128, sent_record_count: u64) -> (RunKey, Sending) {
    let (stream, in_flight_since_ms) = (Some("s".to_owned()), Some(3));
    let sending = Sending { stream, marked_at_ms: 5, in_flight_since_ms, in_flight_record_count: 1, sent_record_count };
    (RunKey { run_id, flow: "access".to_owned() }, sending)
}

fn changes(watermark: u64) -> Changes {
    let (rows, sendings) = (vec![(FileKey(1), row(watermark))], vec![sending(RUN, watermark)]);
    Changes { rows, sendings, started_flows: vec!["access".to_owned()], ..Changes::default() }
}

fn content(watermark: u64) -> Content {
    let Changes { rows, started_flows, sendings, .. } = changes(watermark);
    Content { rows, started_flows: started_flows.into_iter().collect(), sendings }
}

/// A store with these commits, each with a snapshot.
fn left(state_dir: &Path, watermarks: &[u64]) {
    let store = Offsets::open(state_dir).unwrap();
    for watermark in watermarks {
        store.commit(&changes(*watermark)).unwrap();
        store.finish().unwrap();
    }
}

#[track_caller]
fn refused(state_dir: &Path) -> OpenError {
    match Offsets::open(state_dir) {
        Err(error) => error,
        Ok(store) => panic!("opened: {:?}", store.recovered()),
    }
}

/// Sled reads nothing of what is left then.
fn damage(state_dir: &Path) {
    for entry in fs::read_dir(state_dir.join(STORE_FOLDER)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let byte_count = fs::metadata(&path).unwrap().len();
            fs::write(path, vec![0xA5; usize::try_from(byte_count).unwrap()]).unwrap();
        }
    }
}

/// All that is in a folder, but for the lock.
fn everything_in(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(everything_in(&path));
        }
        all.insert(path.clone(), fs::read(&path).ok());
    }
    all
}

fn names_in(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Offsets::open(folder.path()).unwrap();
    store.commit(&changes(5)).unwrap();
    store.commit(&Changes { rows: vec![(FileKey(2), row(6))], ..Changes::default() }).unwrap();
    let (rows, removed) = (vec![(FileKey(1), row(7))], vec![FileKey(2)]);
    store.commit(&Changes { rows, removed, reconciled: vec![sending(RUN, 0).0], ..Changes::default() }).unwrap();
    drop(store);
    let store = Offsets::open(folder.path()).unwrap();
    assert_eq!(store.load().unwrap(), [(FileKey(1), row(7))]);
    assert_eq!(store.started_flows().unwrap(), ["access".to_owned()].into());
    assert_eq!(store.sendings().unwrap(), []);
    assert_eq!((store.recovered(), store.is_rolled_back().unwrap()), (None, false));
    assert_eq!(names_in(folder.path()), ["lock", "offsets", "snapshot", "written"]);
    store.commit(&Changes { forgotten_flows: vec!["access".to_owned()], ..Changes::default() }).unwrap();
    assert_eq!(store.started_flows().unwrap(), [].into());
}

#[test]
fn a_second_opening_is_refused_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let _store = Offsets::open(folder.path()).unwrap();
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::InUse(_)));
    assert!(error.to_string().contains("in use by another kinetail"), "{error}");
}

#[test]
fn where_sled_reads_nothing_the_snapshot_serves() {
    for spoil in [
        damage,
        |state_dir: &Path| fs::remove_dir_all(state_dir.join(STORE_FOLDER)).unwrap(),
        |state_dir: &Path| {
            fs::remove_dir_all(state_dir.join(STORE_FOLDER)).unwrap();
            fs::write(state_dir.join(STORE_FOLDER), "not a folder").unwrap();
        },
    ] {
        let folder = tempfile::tempdir().unwrap();
        left(folder.path(), &[5, 6]);
        spoil(folder.path());
        let was_there = folder.path().join(STORE_FOLDER).exists();
        let peeked = Offsets::peek(folder.path()).unwrap().unwrap();
        assert_eq!((peeked.rows, peeked.is_rolled_back), (content(6).rows, false));
        assert!(peeked.recovered.is_some_and(|recovered| recovered.set_aside.is_none()));

        let store = Offsets::open(folder.path()).unwrap();
        let recovered = store.recovered().unwrap();
        assert_eq!((recovered.source, recovered.is_rolled_back), (Source::Snapshot, false), "{recovered:?}");
        assert_eq!(recovered.set_aside.as_ref().is_some_and(|path| path.exists()), was_there);
        assert_eq!(store.content().unwrap(), content(6));
        drop(store);
        assert_eq!(Offsets::open(folder.path()).unwrap().recovered(), None);
    }
}

#[test]
fn what_the_snapshot_lacks_is_said_until_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    left(folder.path(), &[5]);
    let snapshot = fs::read(folder.path().join(SNAPSHOT_FILE)).unwrap();
    left(folder.path(), &[6, 7]);
    fs::write(folder.path().join(SNAPSHOT_FILE), snapshot).unwrap();
    damage(folder.path());
    let store = Offsets::open(folder.path()).unwrap();
    assert!(store.recovered().is_some_and(|recovered| recovered.is_rolled_back));
    assert_eq!(store.content().unwrap(), content(5));
    drop(store);
    // Both copies say so.
    fs::remove_file(folder.path().join(SNAPSHOT_FILE)).unwrap();
    assert!(Offsets::open(folder.path()).unwrap().is_rolled_back().unwrap());
    damage(folder.path());
    let store = Offsets::open(folder.path()).unwrap();
    assert!(store.is_rolled_back().unwrap());
    store.mend_rollback().unwrap();
    assert!(!store.is_rolled_back().unwrap());
    drop(store);
    assert!(!Offsets::open(folder.path()).unwrap().is_rolled_back().unwrap());
}

/// Sled mends what it finds by leaving out what was written last.
#[test]
fn a_store_that_has_lost_its_last_commits_is_noticed() {
    for has_snapshot in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        left(folder.path(), &[5]);
        let before = tempfile::tempdir().unwrap();
        let copy = opening::copy_store(folder.path(), before.path()).unwrap().unwrap().unwrap();
        left(folder.path(), &[6, 7]);
        fs::remove_dir_all(folder.path().join(STORE_FOLDER)).unwrap();
        fs::rename(copy, folder.path().join(STORE_FOLDER)).unwrap();
        if !has_snapshot {
            fs::remove_file(folder.path().join(SNAPSHOT_FILE)).unwrap();
        }
        let store = Offsets::open(folder.path()).unwrap();
        let recovered = store.recovered().unwrap();
        let is = (recovered.source, recovered.is_rolled_back, recovered.trouble.as_str());
        let trouble = "it lacks the last commits, 2 of them";
        let should_be = if has_snapshot { (Source::Snapshot, false, trouble) } else { (Source::Store, true, trouble) };
        assert_eq!(is, should_be);
        assert!(recovered.set_aside.as_ref().unwrap().exists());
        assert_eq!(store.content().unwrap(), content(if has_snapshot { 7 } else { 5 }));
    }
}

/// To go on with nothing would send everything again, or skip lines.
#[test]
fn a_store_that_has_lost_everything_is_refused_and_left_alone() {
    for lost in [&[STORE_FOLDER, SNAPSHOT_FILE][..], &[SNAPSHOT_FILE]] {
        let folder = tempfile::tempdir().unwrap();
        left(folder.path(), &[5]);
        damage(folder.path());
        for name in lost {
            let path = folder.path().join(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        let before = everything_in(folder.path());
        let error = refused(folder.path());
        assert!(matches!(&error, OpenError::Malformed(of, _) if of == folder.path()), "{error}");
        for command in ["`kinetail offsets import FILE`", "`kinetail offsets forget --all`"] {
            assert!(error.to_string().contains(command), "{error}");
        }
        assert!(Offsets::peek(folder.path()).is_err());
        assert!(everything_in(folder.path()) == before, "something was changed");
    }
}

#[test]
fn a_store_of_a_later_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    left(folder.path(), &[5]);
    let mut snapshot = fs::read(folder.path().join(SNAPSHOT_FILE)).unwrap();
    snapshot[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let content = snapshot.len() - 16;
    let check = <md5::Md5 as md5::Digest>::digest(&snapshot[..content]);
    snapshot[content..].copy_from_slice(&check);
    fs::write(folder.path().join(SNAPSHOT_FILE), snapshot).unwrap();
    let before = everything_in(folder.path());
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::Later(_, version) if version == VERSION + 1), "{error}");
    assert!(error.to_string().contains("is of version 4, this kinetail reads up to version 3"), "{error}");
    assert!(everything_in(folder.path()) == before, "something was changed");
}

/// The trees of version 2, with the values of it.
fn left_by_version_2(state_dir: &Path, trees: &[(&str, &[u8], &str)]) {
    let db = sled::Config::default().path(state_dir.join(STORE_FOLDER)).flush_every_ms(None).open().unwrap();
    for tree in ["files", "flows", "sendings"] {
        db.open_tree(tree).unwrap();
    }
    for (tree, key, json) in trees {
        db.open_tree(tree).unwrap().insert(key, [&[2], json.as_bytes()].concat()).unwrap();
    }
    db.flush().unwrap();
    File::create(state_dir.join("written")).unwrap();
    File::create(state_dir.join(LOCK_FILE)).unwrap();
}

#[test]
fn a_store_of_version_2_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let (run, at_5) = sending(RUN, 5);
    let run = [&run.run_id.to_be_bytes(), run.flow.as_bytes()].concat();
    let (row, sending) = (serde_json::to_string(&row(5)).unwrap(), serde_json::to_string(&at_5).unwrap());
    let trees = [("files", &1_u64.to_be_bytes()[..], row.as_str()), ("flows", b"access", ""), ("sendings", &run, &sending)];
    left_by_version_2(folder.path(), &trees);
    assert_eq!(Offsets::peek(folder.path()).unwrap().unwrap().rows, content(5).rows);
    for _ in 0..2 {
        let store = Offsets::open(folder.path()).unwrap();
        assert_eq!((store.content().unwrap(), store.recovered()), (content(5), None));
        assert_eq!(names_in(folder.path()), ["lock", "offsets", "snapshot", "written"]);
    }
}

#[test]
fn a_store_of_version_2_that_cannot_be_read_is_refused() {
    for (trees, what) in [
        (&[][..], "there is nothing in it, though it was written before, and there is no snapshot of it"),
        (&[("files", &b"12345678"[..], "{}")], "missing field `flow`"),
        (&[("files", b"short", "{}")], "the key of a file has 5 bytes, not 8"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        left_by_version_2(folder.path(), trees);
        let error = refused(folder.path());
        assert!(matches!(error, OpenError::Malformed(..)) && error.to_string().contains(what), "{error}");
    }
}

#[test]
fn what_sled_leaves_on_a_full_disk_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    left(folder.path(), &[5]);
    File::create(folder.path().join(STORE_FOLDER).join("snap.0000000000000042.generating")).unwrap();
    let store = Offsets::open(folder.path()).unwrap();
    assert_eq!((store.content().unwrap(), store.recovered()), (content(5), None));
}

/// Killed after any step of putting a new folder in place of the old one.
#[test]
fn an_opening_that_was_cut_short_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, old) = (folder.path().join(STORE_FOLDER), folder.path().join("offsets.old"));
    left(folder.path(), &[5]);
    fs::remove_file(folder.path().join(SNAPSHOT_FILE)).unwrap();
    fs::rename(&store, &old).unwrap();
    assert_eq!(Offsets::open(folder.path()).unwrap().content().unwrap(), content(5));
    fs::remove_file(folder.path().join(SNAPSHOT_FILE)).unwrap();
    fs::rename(&store, &old).unwrap();
    fs::create_dir(&store).unwrap();
    fs::write(store.join("db"), "half of it").unwrap();
    fs::create_dir(folder.path().join("offsets.trash-1")).unwrap();
    let store = Offsets::open(folder.path()).unwrap();
    assert_eq!((store.content().unwrap(), store.recovered()), (content(5), None));
    assert_eq!(names_in(folder.path()), ["lock", "offsets", "snapshot", "written"]);
}

#[test]
fn no_folder_takes_the_name_of_one_that_was_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    left(folder.path(), &[5]);
    let set_aside: BTreeSet<_> = (0..5)
        .map(|_| {
            damage(folder.path());
            Offsets::open(folder.path()).unwrap().recovered().unwrap().set_aside.clone().unwrap()
        })
        .collect();
    assert!(set_aside.len() == 5 && set_aside.iter().all(|path| path.join("db").exists()), "{set_aside:?}");
}

#[test]
fn a_first_start_that_did_not_get_far_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(Offsets::open(folder.path()).unwrap());
    damage(folder.path());
    let store = Offsets::open(folder.path()).unwrap();
    let recovered = store.recovered().unwrap();
    assert_eq!((recovered.source, recovered.is_rolled_back), (Source::Nothing, false));
    assert_eq!(store.content().unwrap(), Content::default());
}

#[test]
fn a_snapshot_that_cannot_be_written_is_told_and_does_not_stop_commits() {
    let folder = tempfile::tempdir().unwrap();
    let store = Offsets::open(folder.path()).unwrap();
    let health = Health::default();
    store.report_to(health.clone());
    let in_the_way = folder.path().join("snapshot.new");
    fs::create_dir(&in_the_way).unwrap();
    store.commit(&changes(5)).unwrap();
    store.finish().unwrap_err();
    assert!(health.commit().unwrap().reason.contains("cannot write the snapshot of the offset store"));
    store.commit(&changes(6)).unwrap();
    fs::remove_dir(in_the_way).unwrap();
    store.finish().unwrap();
    assert!(health.commit().is_none());
    assert!(matches!(snapshot::read(folder.path()), Ok(Some(Ok(Image { generation: 2, .. })))));
}

#[test]
fn a_snapshot_that_is_damaged_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    left(folder.path(), &[5]);
    fs::write(folder.path().join(SNAPSHOT_FILE), "no snapshot").unwrap();
    assert_eq!(Offsets::open(folder.path()).unwrap().recovered(), None);
    damage(folder.path());
    assert_eq!(Offsets::open(folder.path()).unwrap().content().unwrap(), content(5));
}

#[test]
fn what_a_run_has_sent_is_known_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let run = |run_id, flow: &str| RunKey { run_id, flow: flow.to_owned() };
    let store = Offsets::open(folder.path()).unwrap();
    let counters = ["access", "errors"].map(|flow| store.begin_run(&run(RUN, flow)).unwrap());
    assert!(store.has_begun(&run(RUN, "errors")) && !store.has_begun(&run(RUN + 1, "errors")));
    store.commit(&Changes { sendings: vec![sending(RUN, 5)], ..Changes::default() }).unwrap();
    counters[0].set(8);
    counters[1].set(100);
    assert_eq!(store.sendings().unwrap(), [sending(RUN, 5)], "of this run nothing is unknown yet");
    drop(store);

    let mut counted = sending(RUN, 8);
    counted.1.in_flight_record_count += 3;
    assert_eq!(Offsets::peek(folder.path()).unwrap().unwrap().sendings, [counted.clone()]);
    let store = Offsets::open(folder.path()).unwrap();
    assert_eq!(store.sendings().unwrap(), [counted.clone()]);
    // Whoever looks sees the same, however often and after the next run's counters took the place of these.
    store.begin_run(&run(RUN + 1, "access")).unwrap();
    assert_eq!(store.sendings().unwrap(), [counted.clone()]);
    drop(store);
    assert_eq!(Offsets::open(folder.path()).unwrap().sendings().unwrap(), [counted]);
}

#[test]
fn another_store_takes_the_place_of_any() {
    type Spoil = fn(&Path);
    let spoils: [Spoil; 4] = [
        |_| {},
        damage,
        |state_dir| fs::write(state_dir.join(SNAPSHOT_FILE), "damaged").unwrap(),
        |state_dir| {
            damage(state_dir);
            fs::remove_file(state_dir.join(SNAPSHOT_FILE)).unwrap();
        },
    ];
    for (spoil, new) in spoils.into_iter().zip([content(3), Content::default(), content(9), content(1)]) {
        let folder = tempfile::tempdir().unwrap();
        left(folder.path(), &[5, 6, 7]);
        spoil(folder.path());
        let snapshot = fs::read(folder.path().join(SNAPSHOT_FILE)).ok();
        let set_aside = Offsets::replace_all(folder.path(), &new).unwrap().unwrap();
        assert_eq!(fs::read(set_aside.join(SNAPSHOT_FILE)).ok(), snapshot);
        assert!(set_aside.join("db").exists());
        let store = Offsets::open(folder.path()).unwrap();
        assert_eq!((store.content().unwrap(), store.recovered()), (new, None));
        assert!(matches!(Offsets::replace_all(folder.path(), &content(3)), Err(OpenError::InUse(_))));
    }
}

#[test]
fn a_store_can_be_made_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().join("state");
    assert_eq!(Offsets::replace_all(&state_dir, &content(3)).unwrap(), None);
    assert_eq!(Offsets::open(&state_dir).unwrap().content().unwrap(), content(3));
}

#[test]
fn a_row_that_means_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Offsets::open(folder.path()).unwrap();
    let key = [&b"f"[..], &1_u64.to_be_bytes()].concat();
    store.keeper.commit(&[(key, Some(vec![9, b'{', b'}']))].into(), false).unwrap();
    assert!(store.load().unwrap_err().to_string().contains("version 9"));
    drop(store);
    assert!(matches!(refused(folder.path()), OpenError::Malformed(..)));
}
