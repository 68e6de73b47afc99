//! One binary for all targets: libFuzzer's `main`, with the target named by FERRANT_FUZZ_TARGET. `fuzz/run` starts it.
//!
//! FERRANT_FUZZ_SEEDS=DIR writes the seeds of every target to DIR/TARGET and ends; FERRANT_FUZZ_LIST=1 prints the targets' names.

#![no_main]

mod seed;
mod target;

use std::path::Path;
use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use target::{TARGETS, Target};

static CHOSEN: OnceLock<&Target> = OnceLock::new();

/// Obeys the environment; ends the process for everything but fuzzing.
fn begin() {
    if std::env::var_os("FERRANT_FUZZ_LIST").is_some() {
        for target in TARGETS {
            println!("{}", target.name);
        }
        exit(0);
    }
    if let Some(folder) = std::env::var_os("FERRANT_FUZZ_SEEDS") {
        match seed::write(Path::new(&folder)) {
            Ok(()) => exit(0),
            Err(error) => {
                eprintln!("fuzz: the seeds cannot be made: {error:#}");
                exit(1);
            }
        }
    }
    let name = std::env::var("FERRANT_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    let Some(found) = found else {
        eprintln!("fuzz: FERRANT_FUZZ_TARGET={name:?} is no target; FERRANT_FUZZ_LIST=1 lists them");
        exit(2);
    };
    CHOSEN.get_or_init(|| found);
}

fuzz_target!(
    init: begin(),
    |data: &[u8]| {
        if let Some(target) = CHOSEN.get() {
            (target.run)(data);
        }
    }
);
