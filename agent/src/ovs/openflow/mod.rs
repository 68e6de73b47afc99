//! The OpenFlow connection to the bridge: messages in, answers and events out.
//!
//! It moves bytes, matches answers to requests and comes back after a restart. It does not know what a flow means, and it
//! keeps nothing: what should be in the switch is `plan`'s, in which order it gets there is `apply`'s.
//!
//! A message passes: caller → [`connection`] (xid) → writer → switch → reader ([`link`]) → [`waiting`] (the xid's owner) or
//! [`events`] (nobody's).

pub mod bundle;
pub mod connection;
mod dump;
pub mod error;
pub mod events;
pub mod frame;
#[cfg(fuzzing)]
pub mod fuzzing;
mod link;
pub mod session;
mod waiting;

pub use connection::Connection;
pub use error::{BundleError, LinkError, RequestError};
pub use events::{Event, Events};
pub use frame::{Batch, FrameError, Header};
pub use session::Session;
pub use waiting::Rejected;
