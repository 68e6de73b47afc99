//! Where fuzzing begins: real exchanges, made when they are needed from the project's own encoders and from a live switch, so nothing
//! binary is kept in the repository.

mod cluster;
mod node;
mod switch;

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::target::TARGETS;

/// Seeds by target.
#[derive(Default)]
pub struct Seeds(Vec<(&'static str, Vec<u8>)>);

impl Seeds {
    /// One more of a target.
    pub fn add(&mut self, target: &'static str, bytes: impl Into<Vec<u8>>) {
        self.0.push((target, bytes.into()));
    }
}

/// Writes every target's seeds into a folder of its name.
pub fn write(folder: &Path) -> Result<()> {
    let mut seeds = Seeds::default();
    switch::record(&mut seeds).context("a switch that is recorded")?;
    cluster::make(&mut seeds).context("a cluster's frames")?;
    node::make(&mut seeds);
    for target in TARGETS {
        let own = folder.join(target.name);
        std::fs::create_dir_all(&own).with_context(|| own.display().to_string())?;
        let of_target = seeds.0.iter().filter(|(name, _)| *name == target.name);
        let mut count = 0;
        for (number, (_, bytes)) in of_target.enumerate() {
            std::fs::write(own.join(format!("seed-{number}")), bytes)?;
            count = number + 1;
        }
        ensure!(count > 0, "there is no seed for {}", target.name);
        println!("{} {count}", target.name);
    }
    Ok(())
}
