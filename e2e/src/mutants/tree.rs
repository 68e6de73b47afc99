//! A copy of the work tree in which mutants are built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Mutant;

/// The copy.
pub struct Tree {
    folder: PathBuf,
    build: PathBuf,
}

/// A file of the copy that is broken; dropping it mends it.
pub struct Broken {
    path: PathBuf,
    text: String,
}

impl Drop for Broken {
    fn drop(&mut self) {
        // The next copy compares contents, so a file that could not be mended now is mended then.
        let _ = fs::write(&self.path, &self.text);
    }
}

impl Tree {
    /// Brings `target/mutants/tree` up to date; files that are the same keep their times, so what is built stays built.
    pub fn copy(root: &Path) -> Result<Self> {
        let folder = root.join("target/mutants/tree");
        let output = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("cannot ask git for the files of the work tree")?;
        ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
        let list = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
        for file in list.lines() {
            let Ok(text) = fs::read(root.join(file)) else { continue }; // listed but deleted
            let copy = folder.join(file);
            if fs::read(&copy).is_ok_and(|old| old == text) {
                continue;
            }
            let parent = copy.parent().context("a file lies in a folder")?;
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
            fs::write(&copy, text).with_context(|| format!("cannot write {}", copy.display()))?;
            let permissions = fs::metadata(root.join(file))?.permissions();
            fs::set_permissions(&copy, permissions)?;
        }
        Ok(Self { folder, build: root.join("target/mutants/build") })
    }

    /// Builds the daemons, the plugin and the lab of the copy.
    pub fn build(&self) -> Result<()> {
        let output = Command::new("cargo")
            .args(["build", "--locked", "--quiet", "-p", "controller", "-p", "agent", "-p", "cni", "-p", "e2e"])
            .env("CARGO_TARGET_DIR", &self.build)
            .current_dir(&self.folder)
            .output()
            .context("cannot run cargo")?;
        ensure!(output.status.success(), "cargo build failed:\n{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Breaks the copy.
    pub fn apply(&self, mutant: &Mutant) -> Result<Broken> {
        let path = self.folder.join(&mutant.file);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("mutant {}: cannot read {}", mutant.name, mutant.file))?;
        let found = text.matches(&mutant.find).count();
        ensure!(
            found == 1,
            "mutant {}: its text is {found} times in {}, not once; move it with the code",
            mutant.name,
            mutant.file
        );
        fs::write(&path, text.replace(&mutant.find, &mutant.replace))?;
        Ok(Broken { path, text })
    }

    /// The lab of the copy, which finds the copy's daemons beside itself.
    pub fn lab(&self) -> PathBuf {
        self.build.join("debug/lab")
    }
}
