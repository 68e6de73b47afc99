//! What of the switch has no case here, and why. Everything else must have one.

/// Fields, by the start of their name.
pub const FIELDS: &[(&str, &str)] = &[
    ("mpls_", "no table of ours sees MPLS packets; met in a dump they stay raw bytes"),
    ("nsh_", "no table of ours sees network service headers; met in a dump they stay raw bytes"),
];

/// Fields that the switch keeps for its own tables: it refuses flows that match them, and must do so with this error.
pub const REFUSED: &[(&str, &str)] = &[("dp_hash", "OFPBRC_EPERM"), ("recirc_id", "OFPBRC_EPERM")];

/// Fields of which Open vSwitch 3.1 takes the value for the mask (`match_set_tun_gtpu_flags_masked` and its like), so that only a
/// value of all ones comes back as it was sent.
pub fn value_taken_for_mask(name: &str) -> bool {
    name.starts_with("tun_erspan_") || name.starts_with("tun_gtpu_")
}

/// Actions, by the name that `dump-table-features` gives them.
pub const ACTIONS: &[(&str, &str)] = &[
    ("set_mpls_ttl", "MPLS, see the fields"),
    ("dec_mpls_ttl", "MPLS, see the fields"),
    ("push_mpls", "MPLS, see the fields"),
    ("pop_mpls", "MPLS, see the fields"),
];

pub fn field(name: &str) -> bool {
    FIELDS.iter().any(|(start, _)| name.starts_with(start))
}

pub fn action(name: &str) -> bool {
    ACTIONS.iter().any(|(excluded, _)| *excluded == name)
}
