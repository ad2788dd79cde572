//! Programs that this project did not write, from the package indexes of their languages, installed once into a folder of
//! their own below the target folder. Where there is no such language or no network a story is skipped, which is said; not so
//! in CI.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::skipped;

/// The `bin` folder of an environment with the packages of `requirements.txt` in `folder`, or why there is none.
pub(crate) fn python(folder: &Path) -> Result<PathBuf, String> {
    let installed = installed(folder, "venv", "requirements.txt", |environment| {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment))?;
        let mut pip = Command::new(environment.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", "requirements.txt"]);
        run(pip.current_dir(folder)).map(drop)
    })?;
    Ok(installed.join("bin"))
}

/// A folder with the packages of `package-lock.json` in `folder`, or why there is none.
pub(crate) fn node(folder: &Path) -> Result<PathBuf, String> {
    installed(folder, "node", "package-lock.json", |packages| {
        fs::create_dir_all(packages).unwrap();
        for name in ["package.json", "package-lock.json"] {
            fs::copy(folder.join(name), packages.join(name)).unwrap();
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
        run(npm.current_dir(packages)).map(drop)
    })
}

/// What `install` has made of the file `wanted` in `folder`, now or before.
fn installed(
    folder: &Path,
    kind: &str,
    wanted: &str,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let name = format!("{}-{kind}", folder.file_name().unwrap().to_str().unwrap());
    let into = target.join(&name);
    // Stories run side by side; the first one installs.
    let lock = File::create(target.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    // Written last, so it is there only if all went well.
    let done = into.join("installed");
    let wanted = fs::read(folder.join(wanted)).unwrap();
    if !fs::read(&done).is_ok_and(|done| done == wanted) {
        install(&into)?;
        fs::write(done, wanted).unwrap();
    }
    Ok(into)
}

/// Runs a program that is to end well.
pub(crate) fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr))),
    }
}

/// What was installed; where it could not be, `story` is skipped, but not in CI.
pub(crate) fn or_skip<T>(story: &str, installed: Result<T, String>) -> Option<T> {
    match installed {
        Ok(installed) => Some(installed),
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("in CI this has to run: {why}"),
        Err(why) => {
            skipped(story, &why);
            None
        }
    }
}
