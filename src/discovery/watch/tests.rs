use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use notify::event::{CreateKind, Flag, RemoveKind, RenameMode};

use super::*;
use crate::discovery::{Globs, Noticed};

async fn next_hint(hints: &Hints) -> Noticed {
    tokio::time::timeout(Duration::from_secs(10), hints.noticed()).await.expect("a notification within ten seconds");
    hints.take()
}

async fn wait_for(hints: &Hints, wanted: impl Fn(&Noticed) -> bool) {
    while !wanted(&next_hint(hints).await) {}
}

fn globs(root: &Path, pattern: &str) -> Globs {
    Globs::new(&[format!("{}/{pattern}", root.display())], &[]).unwrap()
}

#[tokio::test]
async fn a_write_and_a_new_file_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.log");
    fs::write(&file, "x").unwrap();
    let hints = Hints::default();
    let mut watch = Watch::new(&hints);
    assert!(watch.set(globs(folder.path(), "*.log").scan().folders));
    fs::write(&file, "xy").unwrap();
    wait_for(&hints, |noticed| noticed.written.contains(&file)).await;
    fs::write(folder.path().join("b.log"), "").unwrap();
    wait_for(&hints, |noticed| noticed.rescan).await;
}

/// Watches `host/app/`, replaces it, looks as the tailer does, and sees whether the watch is on the folder there now.
#[track_caller]
fn check(pattern: &str, replace: impl FnOnce(&Path)) {
    let root = tempfile::tempdir().unwrap();
    let host = root.path().join("host");
    let app = host.join("app");
    fs::create_dir_all(&app).unwrap();
    let file = app.join("a.log");
    let globs = globs(root.path(), pattern);
    let hints = Hints::default();
    let mut watch = Watch::new(&hints);
    assert!(watch.set(globs.scan().folders));
    assert!(!watch.set(globs.scan().folders), "watched twice");

    replace(&host);
    let noticed = async {
        // What the tailer does after its pause, should no hint have come.
        hints.rescan();
        loop {
            let noticed = next_hint(&hints).await;
            if noticed.written.contains(&file) {
                break;
            }
            // Written to when the new watch is there, and by that found out.
            if noticed.rescan && watch.set(globs.scan().folders) {
                fs::write(&file, "x").unwrap();
            }
        }
    };
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(noticed);
}

fn remove_and_make_again(host: &Path) {
    fs::remove_dir(host.join("app")).unwrap();
    fs::create_dir(host.join("app")).unwrap();
}

fn put_another_in_its_place(host: &Path) {
    fs::create_dir(host.join("next")).unwrap();
    fs::rename(host.join("app"), host.join("app.old")).unwrap();
    fs::rename(host.join("next"), host.join("app")).unwrap();
}

#[test]
fn a_folder_that_takes_the_place_of_another_is_watched() {
    for pattern in ["host/app/*.log", "host/*/a.log", "**/*.log"] {
        check(pattern, remove_and_make_again);
        check(pattern, put_another_in_its_place);
        check(pattern, |host| {
            put_another_in_its_place(host);
            remove_and_make_again(host);
        });
        check(pattern, |host| {
            // Hidden, so that only the link leads there.
            fs::rename(host.join("app"), host.join(".old")).unwrap();
            symlink(".old", host.join("app")).unwrap();
        });
    }
}

/// Of a folder that moves with the one above it no notification comes.
#[test]
fn a_folder_replaced_together_with_the_one_above_is_watched() {
    for pattern in ["host/app/*.log", "host/*/a.log", "**/*.log"] {
        check(pattern, |host| {
            fs::rename(host, host.with_extension("old")).unwrap();
            fs::create_dir_all(host.join("app")).unwrap();
        });
    }
}

#[tokio::test]
async fn a_folder_with_two_paths_stays_watched_when_one_goes() {
    let root = tempfile::tempdir().unwrap();
    let (app, link) = (root.path().join("app"), root.path().join("a"));
    fs::create_dir(&app).unwrap();
    symlink("app", &link).unwrap();
    let identity = globs(root.path(), "app/*.log").scan().folders[&app];
    let hints = Hints::default();
    let mut watch = Watch::new(&hints);
    assert!(watch.set([(app.clone(), identity), (link.clone(), identity)].into()));
    assert!(watch.set([(app.clone(), identity)].into()));
    assert!(!watch.set([(app.clone(), identity)].into()));
    let file = app.join("a.log");
    fs::write(&file, "x").unwrap();
    wait_for(&hints, |noticed| noticed.written.contains(&file)).await;
}

fn listener() -> Listener {
    Listener { hints: Hints::default(), watched: Watched::default(), loss_told_at: None }
}

#[test]
fn events_are_hints_or_nothing() {
    let created = EventKind::Create(CreateKind::File);
    let written = EventKind::Modify(ModifyKind::Any);
    for (kind, expected) in
        [(written, (1, false)), (created, (0, true)), (EventKind::Access(notify::event::AccessKind::Any), (0, false))]
    {
        let mut listener = listener();
        listener.on_notification(Ok(Event::new(kind).add_path(PathBuf::from("/a/x.log"))), Instant::now());
        let noticed = listener.hints.take();
        assert_eq!((noticed.written.len(), noticed.rescan), expected, "{kind:?}");
    }
}

#[test]
fn what_was_removed_or_renamed_is_in_doubt_with_all_below() {
    let identity = FolderIdentity { device: 1, inode: 2, created: None, mount: None };
    let folders = ["/a", "/a/b", "/a/b.old", "/a/b/c", "/a/bc"];
    let removed = EventKind::Remove(RemoveKind::File);
    let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    let created = EventKind::Create(CreateKind::Folder);
    for (kind, path, expected) in [
        (removed, "/a/b", &["/a/b", "/a/b/c"][..]),
        (renamed, "/a/b", &["/a/b", "/a/b/c"]),
        (removed, "/a/b/x.log", &[]),
        (removed, "/a/aa", &[]),
        (created, "/a/b", &[]),
    ] {
        let mut listener = listener();
        for folder in folders {
            assert!(listener.watched.add(Path::new(folder), identity));
        }
        listener.on_notification(Ok(Event::new(kind).add_path(PathBuf::from(path))), Instant::now());
        let unchanged = folders.iter().map(|folder| (PathBuf::from(folder), identity)).collect();
        let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(listener.watched.take_all_but(&unchanged), expected, "{kind:?} {path}");
        assert!(listener.hints.take().rescan);
    }
}

#[test]
fn lost_notifications_mean_a_rescan_and_are_told_now_and_then() {
    let mut listener = listener();
    let begin = Instant::now();
    let second = Duration::from_secs(1);
    for (after, is_told) in [
        (Duration::ZERO, true),
        (second, false),
        (NOTIFICATIONS_LOST_REMINDER - second, false),
        (NOTIFICATIONS_LOST_REMINDER, true),
        (NOTIFICATIONS_LOST_REMINDER + second, false),
    ] {
        let told_before = listener.loss_told_at;
        listener.on_notification(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)), begin + after);
        assert_eq!(listener.loss_told_at != told_before, is_told, "{after:?}");
        assert!(listener.hints.take().rescan);
    }
}
