//! What a story is made of.

use crate::probe::{Forgery, Protocol, Verdict};

/// A story.
#[derive(Clone, Debug)]
pub struct Story {
    /// The file's name without its ending.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// Why it may pass without policy, when it is not about policy.
    pub not_about_policy: Option<String>,
    /// The tunnel's type.
    pub tunnel: Option<String>,
    /// How many controllers there are.
    pub controllers: usize,
    /// How long certificates count.
    pub certificates: Option<std::time::Duration>,
    /// The manifests of the cluster at first: file and text.
    pub files: Vec<(String, String)>,
    /// Servers beside those of pods: place, protocol, port.
    pub servers: Vec<(String, Protocol, u16)>,
    /// Steps, with the line each is in.
    pub steps: Vec<(usize, Step)>,
}

/// A step of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A file of the source directory is added or edited.
    Apply {
        /// Its name.
        file: String,
        /// Its text.
        text: String,
    },
    /// A file is removed.
    Remove(String),
    /// A file gets another name.
    Rename(String, String),
    /// Pods come.
    Attach {
        /// Their manifests, as one file.
        file: String,
        /// Its text.
        text: String,
        /// Who floods them meanwhile.
        watched_by: Vec<String>,
    },
    /// A pod goes.
    Detach(String),
    /// The agent of a node dies and comes back.
    RestartAgent(String),
    /// The switch of a node dies and comes back, while these flood a pod.
    RestartSwitch {
        /// Its node.
        node: String,
        /// Who floods.
        senders: Vec<String>,
        /// Whom.
        target: String,
    },
    /// A controller dies and comes back.
    RestartController(usize),
    /// Something happens to a controller.
    Controller(ControllerStep, usize),
    /// What a node and a controller send each other is lost from now on.
    Part(String, usize),
    /// It is not lost any more.
    Rejoin(String, usize),
    /// The agent of a node is restarted with a certificate of another cluster.
    Estrange(String),
    /// The certificates that all nodes have now expire, and newer ones have taken their place.
    Renewed,
    /// It is given one of its own cluster, which it finds.
    Certify(String),
    /// A pod takes its node's own MAC for its gateway's.
    Neighbour(String),
    /// Packets, many at once.
    Probe(Vec<(usize, ProbeLine)>),
    /// The same, sent again until all is as written or patience ends.
    Eventually(Vec<(usize, ProbeLine)>),
    /// A conversation is opened.
    Open {
        /// What the story calls it.
        name: String,
        /// Who speaks.
        from: String,
        /// To whom.
        to: String,
        /// Over what.
        protocol: Protocol,
        /// The server's port.
        port: u16,
    },
    /// A line and its answer.
    Exchange(String, Verdict),
    /// The server speaks alone.
    Stream(String),
    /// Whether the server is still heard.
    Streaming(String, bool),
    /// Somebody asks with antctl.
    Antctl {
        /// On which node.
        node: String,
        /// What.
        arguments: Vec<String>,
        /// The line, and what some line of the answer must have in it, spaces aside.
        says: Vec<(usize, String)>,
    },
    /// Packets that no honest socket sends.
    Forge(Vec<(usize, ForgeLine)>),
}

/// What happens to a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControllerStep {
    /// It comes.
    Start,
    /// It dies.
    Stop,
    /// It stands still, with its connections.
    Pause,
    /// It goes on.
    Resume,
}

/// A packet and what must become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeLine {
    /// Where it starts.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The port; 0 for ICMP.
    pub port: u16,
    /// IPv6 or IPv4; none for both.
    pub ipv6: Option<bool>,
    /// How large it is.
    pub size: Size,
    /// Whose address the server must see.
    pub seen_as: Option<String>,
    /// What must become of it.
    pub verdict: Verdict,
    /// Who must have decided; none says nothing about it.
    pub by: Option<Vec<String>>,
}

/// How large a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A token.
    Small,
    /// So many bytes of payload.
    Bytes(usize),
    /// The largest datagram or echo that the sender's MTU takes in one packet; over TCP many full segments.
    Full,
}

/// Whether a packet arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It did.
    Seen,
    /// It did not.
    Unseen,
}

/// A forged packet and what must become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgeLine {
    /// Who sends it.
    pub from: String,
    /// Where it goes.
    pub to: String,
    /// What it is.
    pub forgery: Forgery,
    /// In whose name: a place, or an address; none is the sender's own.
    pub source: Option<String>,
    /// The destination's port.
    pub port: u16,
    /// What must become of it.
    pub seen: Seen,
}
