//! The rules of the reading by name, each of which can be left out to see whether it mattered.

use std::fmt;

macro_rules! constructs {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// One rule of what policies mean, and what a reading that lacks it does instead.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Construct {
            $($(#[$doc])* $variant,)*
        }

        impl Construct {
            /// Every construct, in the order of this list.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// Its name in reports; never changes.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

constructs! {
    /// Without it `except` is not read: the whole range matches.
    Except = "except",
    /// Without it `endPort` is not read: only `port` matches.
    EndPort = "endPort",
    /// Without it a named port matches nothing.
    NamedPort = "named port",
    /// Without it a named port counts with any protocol of the container's port.
    NamedPortProtocol = "named port protocol",
    /// Without it the ports of sidecars have no names.
    NamedPortOfSidecar = "named port of sidecar",
    /// Without it a peer's `namespaceSelector` is not read.
    NamespaceSelector = "namespaceSelector",
    /// Without it a peer's `podSelector` is not read.
    PodSelector = "podSelector",
    /// Without it a policy's own `podSelector` is not read: it selects every pod of the namespace.
    TargetSelector = "target podSelector",
    /// Without it a policy selects pods of every namespace.
    NamespaceScope = "namespace scope",
    /// Without it an empty selector selects nothing.
    EmptySelector = "empty selector",
    /// Without it a `podSelector` alone means all namespaces, as if an empty `namespaceSelector` stood beside it.
    MissingSelector = "missing selector",
    /// Without it a rule whose list of peers is empty or missing matches nobody.
    EmptyPeerList = "empty peer list",
    /// Without it a rule whose list of ports is empty or missing matches no port.
    EmptyPortList = "empty port list",
    /// Without it lists of ports are not read: every port matches.
    PortList = "port list",
    /// Without it a rule with ports allows ICMP too.
    PortListIsNotIcmp = "port list is not ICMP",
    /// Without it a port that names no protocol matches any.
    DefaultProtocol = "default protocol",
    /// Without it ports of UDP match nothing.
    ProtocolUdp = "UDP",
    /// Without it ports of SCTP match nothing.
    ProtocolSctp = "SCTP",
    /// Without it written `policyTypes` are not read: the default counts.
    PolicyTypes = "policyTypes",
    /// Without it a policy that writes no `policyTypes` isolates nothing.
    PolicyTypesDefaulting = "policyTypes defaulting",
    /// Without it an `ipBlock` matches nothing.
    IpBlock = "ipBlock",
    /// Without it an `ipBlock` does not match pods.
    IpBlockOfPod = "ipBlock of pod",
    /// Without it `matchLabels` is not read: it always holds.
    MatchLabels = "matchLabels",
    /// Without it a requirement with `In` always holds.
    OperatorIn = "In",
    /// Without it a requirement with `NotIn` always holds.
    OperatorNotIn = "NotIn",
    /// Without it `NotIn` asks for the key to be there.
    NotInMissingKey = "NotIn with missing key",
    /// Without it a requirement with `Exists` always holds.
    OperatorExists = "Exists",
    /// Without it a requirement with `DoesNotExist` always holds.
    OperatorDoesNotExist = "DoesNotExist",
    /// Without it pods of the host's network are selected as others are.
    HostNetworkExclusion = "host-network exclusion",
    /// Without it pods that have ended are selected as others are.
    TerminatedExclusion = "terminated exclusion",
    /// Without it what a pod sends to itself meets policy.
    TrafficToOneself = "traffic to oneself",
    /// Without it what a node sends to its own pods meets policy.
    HostOrigin = "host origin",
    /// Without it what a pod sends to its own node passes.
    EgressToOwnNode = "egress to own node",
    /// Without it a pod may send in any name.
    SpoofGuard = "spoof guard",
}

impl fmt::Display for Construct {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
