//! What was found.

use std::process::ExitCode;

/// A generator of numbers: the same for the same seed (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}

pub struct Report {
    seed: u64,
    pub random: Random,
    pub fields: usize,
    pub actions: usize,
    without_case: usize,
    differences: usize,
}

impl Report {
    pub fn new(seed: u64) -> Self {
        Self { seed, random: Random(seed), fields: 0, actions: 0, without_case: 0, differences: 0 }
    }

    pub fn without_case(&mut self, what: &str) {
        eprintln!("without a case: {what}");
        self.without_case += 1;
    }

    pub fn difference(&mut self, case: &str, way: &str, ours: &str, theirs: &str) {
        eprintln!("difference in {case} ({way})\n  ours:   {ours}\n  theirs: {theirs}");
        self.differences += 1;
    }

    pub fn same(&mut self, case: &str, way: &str, ours: &str, theirs: &str) {
        if ours != theirs {
            self.difference(case, way, ours, theirs);
        }
    }

    /// Prints the last line.
    pub fn finish(self) -> ExitCode {
        let Self { seed, fields, actions, without_case, differences, .. } = self;
        println!(
            "{fields} fields and {actions} actions went through Open vSwitch; {without_case} without a case, {differences} differences"
        );
        println!(
            "{{\"seed\":{seed},\"datapath\":\"dummy\",\"skipped\":0,\"fields\":{fields},\"actions\":{actions},\
             \"without_case\":{without_case},\"differences\":{differences}}}"
        );
        if without_case + differences == 0 && fields > 0 && actions > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
