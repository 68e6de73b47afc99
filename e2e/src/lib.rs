//! The lab: a cluster of network namespaces on one machine, with real Open vSwitch and Ferrant's real binaries, and the
//! packets that are sent through it.
//!
//! - [`cluster`] reads a directory of manifests as a person has it and completes it for the lab,
//! - [`lab`] brings the cluster up (nodes, pods, daemons) and takes it down again, leaving nothing,
//! - [`probe`] sends real packets and says Reached, Refused or TimedOut.
//! - [`oracle`] draws clusters and packets and holds the system against the meaning of policies; [`mutants`] breaks the system to
//!   see that this is noticed; [`bad_input`] gives it what is wrong,
//! - [`crash`] stops a process at any line and looks whether that is noticed;
//! - [`bench`] prints promises as numbers beside their targets,
//! - [`conformance`] calls the CNI plugin as runtimes do and holds it against the specification,
//! - [`restart`] kills daemons under traffic and counts what is lost and what gets through that must not,
//! - [`stage`] puts a cluster on the lab and asks it, by packets and by the agents' words,
//! - [`story`] is what users do, as text, told on a stage.
//!
//! Nothing here knows the insides of the binaries: they are started with flags, asked over their sockets and judged by what
//! happens to packets.

pub mod bad_input;
pub mod bench;
pub mod cluster;
pub mod command;
pub mod conformance;
pub mod crash;
pub mod lab;
pub mod mutants;
pub mod oracle;
pub mod probe;
pub mod restart;
pub mod stage;
pub mod story;
