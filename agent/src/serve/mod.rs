//! What the agent answers: the CNI plugin here, people and tools at its own socket.

pub mod cni;
