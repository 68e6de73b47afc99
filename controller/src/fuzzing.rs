//! What comes from outside, byte for byte, into the readers that meet it: entry points for the fuzzer (`fuzz/`), in no other build.

use crate::plan::Plan;
use crate::state::{Changed, State};
use crate::watch::SourceEvent;
use crate::watch::directory;

pub use crate::run::fuzzing::{from_agent, told};

/// A file of the source, down to the plan that comes of it; then the same file without its last object, step by step and anew.
pub fn yaml(data: &[u8]) {
    let objects = directory::fuzzing::objects(data);
    let (mut state, mut changed) = (State::default(), Changed::default());
    let keys: Vec<_> = objects.iter().map(crate::object::Object::key).collect();
    for object in objects {
        state.apply(SourceEvent::Upsert(object), &mut changed);
    }
    let mut plan = Plan::of(&state);
    if let Some(last) = keys.into_iter().next_back() {
        let mut changed = Changed::default();
        state.apply(SourceEvent::Delete(last), &mut changed);
        plan.update(&state, &changed);
        if let Err(difference) = plan.check(&state) {
            panic!("the plan is not what it would be when computed anew: {difference}");
        }
    }
}
