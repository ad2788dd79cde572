//! Reading all files anew: what holds from then on.

use super::files::{Folder, flow, names};
use super::*;

/// A main file with the flow `main`, and two others with `a` and `b`.
fn three() -> (Folder, Loaded) {
    let folder = Folder::with(&[
        ("agent.toml", &format!("[agent]\nmemory_max = '8 MiB'\n{}", flow("main"))),
        ("conf.d/a.toml", &flow("a")),
        ("conf.d/b.toml", &flow("b")),
    ]);
    let loaded = Loaded::load(&folder.main()).unwrap();
    (folder, loaded)
}

/// What holds after a reload, and what is told of it: `kept` or `left out`, and each trouble.
fn again(folder: &Folder, loaded: &Loaded) -> (Option<Loaded>, Vec<String>) {
    let Reloaded { loaded, refused } = loaded.again();
    let told = refused.iter().flat_map(|Refused { error, is_kept }| {
        let fate = if *is_kept { "kept" } else { "left out" };
        folder.told(&error.troubles()).into_iter().map(move |told| format!("{fate}: {told}"))
    });
    (loaded, told.collect())
}

/// The same where the files can stand together.
#[track_caller]
fn anew(folder: &Folder, loaded: &Loaded) -> (Loaded, Vec<String>) {
    let (loaded, told) = again(folder, loaded);
    (loaded.unwrap_or_else(|| panic!("{told:?}")), told)
}

#[test]
fn what_has_not_changed_is_equal() {
    let (folder, loaded) = three();
    let (same, told) = anew(&folder, &loaded);
    assert_eq!((&same.config, told.len()), (&loaded.config, 0));
    // In another file, another order, and with comments.
    folder.write("conf.d/a.toml", &format!("# both\n{}\n{}", flow("b"), flow("a")));
    fs::remove_file(folder.path("conf.d/b.toml")).unwrap();
    let (same, told) = anew(&folder, &same);
    assert_eq!((&same.config, told.len()), (&loaded.config, 0));
}

#[test]
fn files_come_change_and_go() {
    let (folder, loaded) = three();
    fs::remove_file(folder.path("conf.d/a.toml")).unwrap();
    folder.write("conf.d/b.toml", &flow("b").replace("'s'", "'t'"));
    folder.write("conf.d/c.toml", &flow("c"));
    let (loaded, told) = anew(&folder, &loaded);
    assert_eq!((names(&loaded.config), told.len()), (vec!["main", "b", "c"], 0));
    assert_eq!(loaded.config.flows[1].delivery.destination.stream(), "t");
    fs::remove_dir_all(folder.path("conf.d")).unwrap();
    let (loaded, told) = anew(&folder, &loaded);
    assert_eq!((names(&loaded.config), told.len()), (vec!["main"], 0));
}

#[test]
fn a_mistaken_file_stays_as_it_was_and_the_others_take_effect() {
    let (folder, loaded) = three();
    folder.write("conf.d/a.toml", &flow("a").replace("stream", "strem"));
    folder.write("conf.d/b.toml", &flow("b2"));
    folder.write("conf.d/c.toml", "[[flow]]\nname = 'c'\nfiles = '/c'\n");
    let (first, told) = anew(&folder, &loaded);
    assert_eq!(names(&first.config), ["main", "a", "b2"]);
    let expected = [
        "kept: conf.d/a.toml:4:1 `stream` is missing in [flow.kinesis] (write stream = \"…\", the name of the Kinesis data stream)",
        "kept: conf.d/a.toml:5:1 unknown key `strem` in [flow.kinesis] (did you mean `stream`?)",
        "left out: conf.d/c.toml:1:1 `kinesis` is missing in [[flow]] (write [flow.kinesis] and below it stream = \"…\"; or [flow.firehose] and delivery_stream = \"…\")",
    ];
    assert_eq!(told, expected);
    // It is told again as long as it is so, and what holds stays the same.
    let (second, told) = anew(&folder, &first);
    assert_eq!((&second.config, told.len()), (&first.config, 3));
    folder.write("conf.d/a.toml", &flow("a2"));
    fs::remove_file(folder.path("conf.d/c.toml")).unwrap();
    let (third, told) = anew(&folder, &second);
    assert_eq!((names(&third.config), told.len()), (vec!["main", "a2", "b2"], 0));
}

#[test]
fn the_main_file_stays_as_it_was_when_it_is_mistaken_or_gone() {
    let (folder, loaded) = three();
    folder.write("agent.toml", "[agent]\nmemory_max = '16'\n");
    folder.write("conf.d/b.toml", &flow("b2"));
    let (loaded, told) = anew(&folder, &loaded);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("kept: agent.toml:2:14 `memory_max`"), "{told:?}");
    assert_eq!((loaded.config.agent.memory_max, names(&loaded.config)), (8 << 20, vec!["main", "a", "b2"]));
    fs::remove_file(folder.main()).unwrap();
    let (loaded, told) = anew(&folder, &loaded);
    assert_eq!(told, ["kept: agent.toml cannot be read: No such file or directory (os error 2)"]);
    assert_eq!(names(&loaded.config), ["main", "a", "b2"]);
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.main(), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    assert_eq!(anew(&folder, &loaded).1, ["kept: agent.toml cannot be read: it is a pipe, not a file"]);
}

#[test]
fn files_that_cannot_be_read_any_more_stay_as_they_were() {
    let (folder, loaded) = three();
    fs::remove_file(folder.path("conf.d/a.toml")).unwrap();
    fs::create_dir(folder.path("conf.d/a.toml")).unwrap();
    fs::write(folder.path("conf.d/b.toml"), b"\xff").unwrap();
    let (loaded, told) = anew(&folder, &loaded);
    let expected =
        ["kept: conf.d/a.toml cannot be read: it is a folder, not a file", "kept: conf.d/b.toml:1:1 the file is not UTF-8 text"];
    assert_eq!((told.as_slice(), names(&loaded.config)), (expected.map(String::from).as_slice(), vec!["main", "a", "b"]));
    fs::remove_dir_all(folder.path("conf.d")).unwrap();
    folder.write("conf.d", "");
    let (loaded, told) = anew(&folder, &loaded);
    assert_eq!(told, ["kept: conf.d cannot be read: Not a directory (os error 20)"]);
    assert_eq!(names(&loaded.config), ["main", "a", "b"]);
}

#[test]
fn what_cannot_stand_together_is_refused_as_a_whole() {
    let (folder, loaded) = three();
    let kept_by = "offsets and metrics are kept by it";
    // The mistake is in the file that has changed, though the other comes later.
    folder.write("conf.d/a.toml", &flow("b"));
    folder.write("agent.toml", &flow("main2"));
    let (refused, told) = again(&folder, &loaded);
    assert!(refused.is_none());
    assert_eq!(
        told,
        [format!("kept: conf.d/a.toml:2:8 `name` is taken: \"b\" (conf.d/b.toml, line 2 has it already; {kept_by})")]
    );
    // What is kept of a mistaken file counts.
    folder.write("agent.toml", &format!("[agent]\nmemory_max = '8 MiB'\n{}", flow("main")));
    folder.write("conf.d/b.toml", "[");
    let (refused, told) = again(&folder, &loaded);
    assert!(refused.is_none());
    assert_eq!(
        told[1],
        format!(
            "kept: conf.d/a.toml:2:8 `name` is taken: \"b\" (what was read of conf.d/b.toml before, line 2 has it already; {kept_by})"
        )
    );
    folder.write("conf.d/b.toml", &["b", "c", "d", "e"].map(flow).concat());
    folder.write("conf.d/a.toml", "");
    let (refused, told) = again(&folder, &loaded);
    assert!(refused.is_none());
    let needed = "(write memory_max = \"10 MiB\", or more)";
    assert_eq!(told, [format!("kept: agent.toml:2:14 `memory_max` of 8 MiB does not suffice for 5 flows in 2 files {needed}")]);
    folder.write("conf.d/b.toml", "");
    folder.write("agent.toml", "");
    let (refused, told) = again(&folder, &loaded);
    assert!(refused.is_none() && told.len() == 1 && told[0].contains("`flow` is missing"), "{told:?}");
}
