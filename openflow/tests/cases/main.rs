//! Every field and every action, there and back through Open vSwitch itself.
//!
//! Each case goes four ways, and each must agree byte for byte and word for word:
//! ours → `ovs-ofctl` offline (`ofp-print`, `parse-actions`, `parse-oxm`) → text; our text → `ovs-ofctl` → switch → our decoder;
//! ours → switch → our decoder; ours → switch → `ovs-ofctl dump-flows` → text.
//!
//! The list of fields comes from the switch (`dump-table-features`), the list of actions from [`openflow::Action::KINDS`]: what has
//! neither a case nor a stated exclusion is a failure. The last line of standard output is one JSON object.

// the crate is sans-I/O; this test is where it meets a real switch
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod actions;
mod connection;
mod events;
mod exclusions;
mod expand;
mod fields;
mod flows;
mod messages;
mod ofctl;
mod report;
mod switch;

use std::process::ExitCode;

use report::Report;
use switch::Switch;

fn main() -> ExitCode {
    // cargo asks every test what it holds; this one is a single whole
    if std::env::args().any(|argument| argument == "--list") {
        println!("every_field_and_action: test");
        return ExitCode::SUCCESS;
    }
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_240_601);
    let mut report = Report::new(seed);
    match run(&mut report) {
        Ok(()) => report.finish(),
        Err(error) => {
            eprintln!("the cases could not be run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(report: &mut Report) -> Result<(), String> {
    let switch = Switch::start()?;
    let mut connection = switch.connect()?;
    switch.prepare(&mut connection)?;
    let features = ofctl::table_features(&switch)?;
    let mut cases = fields::cases(report, &features);
    cases.extend(actions::cases(report, &features));
    flows::offline(report, &cases, &switch)?;
    flows::live(report, &cases, &switch, &mut connection)?;
    messages::offline(report)?;
    messages::live(report, &switch, &mut connection)?;
    events::live(report, &mut connection)
}
