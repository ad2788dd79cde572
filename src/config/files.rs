//! Which files the configuration consists of, and their bytes.
//!
//! What is written in them is for others to find out. Nothing here waits: pipes and devices in the folder are not opened.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::units::size_written;
use crate::limits::{CONFIG_BYTES_MAX, CONFIG_FILES_MAX};

/// The folder beside the main file in which files of flows are looked for.
const FLOWS_FOLDER: &str = "conf.d";

/// A file of the configuration, or the folder of files where that cannot be listed.
pub(super) struct Read {
    pub(super) path: PathBuf,
    pub(super) bytes: io::Result<Vec<u8>>,
}

/// Where files of flows are looked for, by the path of the main one.
pub(super) fn flows_folder(main: &Path) -> PathBuf {
    main.with_file_name(FLOWS_FOLDER)
}

/// Reads the file `main`, which comes first, and those of flows, by their names. Something that is no file, such as a pipe from which
/// it was read once, is not read `again`.
pub(super) fn read(main: &Path, again: bool) -> Vec<Read> {
    let mut left = CONFIG_BYTES_MAX;
    let bytes = if again { open_file(main) } else { File::open(main) }.and_then(|file| bytes_of(&file, &mut left));
    let mut read = vec![Read { path: main.to_owned(), bytes }];
    let folder = flows_folder(main);
    match list(&folder) {
        Ok(paths) => {
            for path in paths {
                let bytes = open_file(&path).and_then(|file| bytes_of(&file, &mut left));
                // It was deleted since it was listed.
                let is_gone = bytes.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) && !exists(&path);
                if !is_gone {
                    read.push(Read { path, bytes });
                }
            }
        }
        Err(error) => read.push(Read { path: folder, bytes: Err(error) }),
    }
    read
}

/// Files of flows in `folder`, sorted by their names; none where there is no such folder.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !exists(folder) => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        if !is_flows_file(name.as_bytes()) {
            continue;
        }
        if names.len() == CONFIG_FILES_MAX {
            return Err(io::Error::other(format!("there are more than {CONFIG_FILES_MAX} files *.toml in it")));
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// `*.toml`, and no hidden file: what editors and package managers leave behind has other names.
fn is_flows_file(name: &[u8]) -> bool {
    name.ends_with(b".toml") && !name.starts_with(b".")
}

/// Whether there is anything of this name, be it a symbolic link that leads nowhere.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Opens a file, and nothing but a file. Opening a pipe would wait for a writer.
fn open_file(path: &Path) -> io::Result<File> {
    check_kind(fs::metadata(path)?.file_type())?;
    // Something else may have taken its place since.
    let file = File::options().read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed()).open(path)?;
    check_kind(file.metadata()?.file_type())?;
    Ok(file)
}

fn check_kind(kind: fs::FileType) -> io::Result<()> {
    let what = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::other(format!("it is {what}, not a file")))
}

/// All bytes of `file`, if there are no more than `left`, which becomes less by them.
fn bytes_of(file: &File, left: &mut usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(*left as u64 + 1).read_to_end(&mut bytes)?;
    match left.checked_sub(bytes.len()) {
        Some(rest) => *left = rest,
        None => {
            let limit = size_written(CONFIG_BYTES_MAX);
            return Err(io::Error::other(format!(
                "all files of the configuration together may have {limit}, with this one they have more"
            )));
        }
    }
    Ok(bytes)
}
