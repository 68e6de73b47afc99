//! Names and meanings of every error code of OpenFlow 1.5 and of Nicira's, as Open vSwitch uses them (ovs-ofctl(8), ofp-errors).

/// One error.
pub(super) struct Known {
    pub(super) kind: u16,
    pub(super) code: u16,
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
}

macro_rules! errors {
    ($($table:ident { $($kind:literal $code:literal $name:ident $meaning:literal;)* })*) => {$(
        pub(super) const $table: &[Known] =
            &[$(Known { kind: $kind, code: $code, name: stringify!($name), meaning: $meaning }),*];
    )*};
}

errors! {
    STANDARD {
        0 0 OFPHFC_INCOMPATIBLE "no protocol version in common";
        0 1 OFPHFC_EPERM "not permitted to connect";
        1 0 OFPBRC_BAD_VERSION "the message's version is not the connection's";
        1 1 OFPBRC_BAD_TYPE "unknown message type";
        1 2 OFPBRC_BAD_STAT "unknown multipart type";
        1 3 OFPBRC_BAD_VENDOR "unknown experimenter";
        1 4 OFPBRC_BAD_SUBTYPE "unknown message type of a known experimenter";
        1 5 OFPBRC_EPERM "not permitted";
        1 6 OFPBRC_BAD_LEN "the message has a wrong length";
        1 7 OFPBRC_BUFFER_EMPTY "the buffered packet was already used";
        1 8 OFPBRC_BUFFER_UNKNOWN "there is no such buffered packet";
        1 9 OFPBRC_BAD_TABLE_ID "there is no such table";
        1 10 OFPBRC_IS_SECONDARY "a secondary controller may only read";
        1 11 OFPBRC_BAD_PORT "no such port, or none given";
        1 12 OFPBRC_BAD_PACKET "the packet of a packet-out is not valid";
        1 13 OFPBRC_MULTIPART_BUFFER_OVERFLOW "a request of several messages is too long";
        1 14 OFPBRC_MULTIPART_REQUEST_TIMEOUT "the rest of a request did not come in time";
        1 15 OFPBRC_MULTIPART_REPLY_TIMEOUT "the rest of an answer could not be sent in time";
        1 16 OFPBRC_MULTIPART_BAD_SCHED "the scheduling tolerance could not be set";
        1 17 OFPBRC_PIPELINE_FIELDS_ONLY "only pipeline fields may be given here";
        1 18 OFPBRC_UNKNOWN "unspecified";
        2 0 OFPBAC_BAD_TYPE "unknown action";
        2 1 OFPBAC_BAD_LEN "an action has a wrong length";
        2 2 OFPBAC_BAD_VENDOR "an action of an unknown experimenter";
        2 3 OFPBAC_BAD_VENDOR_TYPE "unknown action of a known experimenter, or one not allowed in OpenFlow 1.5";
        2 4 OFPBAC_BAD_OUT_PORT "cannot output to this port";
        2 5 OFPBAC_BAD_ARGUMENT "an action's argument is not valid";
        2 6 OFPBAC_EPERM "not permitted";
        2 7 OFPBAC_TOO_MANY "more actions than the switch can do";
        2 8 OFPBAC_BAD_QUEUE "no such queue";
        2 9 OFPBAC_BAD_OUT_GROUP "no such group, or it cannot be used here";
        2 10 OFPBAC_MATCH_INCONSISTENT "the action needs a field that the match does not make sure of";
        2 11 OFPBAC_UNSUPPORTED_ORDER "the actions cannot be done in this order";
        2 12 OFPBAC_BAD_TAG "the tag or header type is not supported";
        2 13 OFPBAC_BAD_SET_TYPE "an action names an unknown field";
        2 14 OFPBAC_BAD_SET_LEN "an action names no bits, or bits beyond the end of a field";
        2 15 OFPBAC_BAD_SET_ARGUMENT "the value is not valid for the field, or the field cannot be written";
        2 16 OFPBAC_BAD_SET_MASK "a mask is not allowed here";
        2 17 OFPBAC_BAD_METER "no such meter";
        3 0 OFPBIC_UNKNOWN_INST "unknown instruction";
        3 1 OFPBIC_UNSUP_INST "the table does not support the instruction";
        3 2 OFPBIC_BAD_TABLE_ID "goto to a table that does not exist or is not after this one";
        3 3 OFPBIC_UNSUP_METADATA "the metadata value is not supported";
        3 4 OFPBIC_UNSUP_METADATA_MASK "the metadata mask is not supported";
        3 5 OFPBIC_BAD_EXPERIMENTER "an instruction of an unknown experimenter";
        3 6 OFPBIC_BAD_EXP_TYPE "unknown instruction of a known experimenter";
        3 7 OFPBIC_BAD_LEN "an instruction has a wrong length";
        3 8 OFPBIC_EPERM "not permitted";
        3 9 OFPBIC_DUP_INST "an instruction is there twice";
        4 0 OFPBMC_BAD_TYPE "the match is not an OXM match";
        4 1 OFPBMC_BAD_LEN "a length in the match is wrong";
        4 2 OFPBMC_BAD_TAG "a tag in the match is not supported";
        4 3 OFPBMC_BAD_DL_ADDR_MASK "the Ethernet address cannot be masked like this";
        4 4 OFPBMC_BAD_NW_ADDR_MASK "the IP address cannot be masked like this";
        4 5 OFPBMC_BAD_WILDCARDS "the value has bits outside of its mask, or fields cannot be combined like this";
        4 6 OFPBMC_BAD_FIELD "unknown field";
        4 7 OFPBMC_BAD_VALUE "the field cannot have this value";
        4 8 OFPBMC_BAD_MASK "the field cannot be masked like this";
        4 9 OFPBMC_BAD_PREREQ "a field is matched without, or before, those it needs";
        4 10 OFPBMC_DUP_FIELD "a field is there twice";
        4 11 OFPBMC_EPERM "not permitted";
        5 0 OFPFMFC_UNKNOWN "unspecified";
        5 1 OFPFMFC_TABLE_FULL "the table is full";
        5 2 OFPFMFC_BAD_TABLE_ID "there is no such table";
        5 3 OFPFMFC_OVERLAP "the flow overlaps one of the same priority, and check_overlap was asked for";
        5 4 OFPFMFC_EPERM "not permitted";
        5 5 OFPFMFC_BAD_TIMEOUT "the timeouts are not supported";
        5 6 OFPFMFC_BAD_COMMAND "unknown command";
        5 7 OFPFMFC_BAD_FLAGS "unknown flags";
        5 8 OFPFMFC_CANT_SYNC "the table cannot be synchronized with its source";
        5 9 OFPFMFC_BAD_PRIORITY "the priority is not supported";
        5 10 OFPFMFC_IS_SYNC "a synchronized flow is read-only";
        6 0 OFPGMFC_GROUP_EXISTS "the group to add is already there";
        6 1 OFPGMFC_INVALID_GROUP "the group is not valid";
        6 2 OFPGMFC_WEIGHT_UNSUPPORTED "unequal weights are not supported";
        6 3 OFPGMFC_OUT_OF_GROUPS "no more groups";
        6 4 OFPGMFC_OUT_OF_BUCKETS "too many buckets";
        6 5 OFPGMFC_CHAINING_UNSUPPORTED "groups that use groups are not supported";
        6 6 OFPGMFC_WATCH_UNSUPPORTED "the port or group cannot be watched";
        6 7 OFPGMFC_LOOP "groups would use each other in a circle";
        6 8 OFPGMFC_UNKNOWN_GROUP "there is no such group";
        6 9 OFPGMFC_CHAINED_GROUP "another group still uses the group to delete";
        6 10 OFPGMFC_BAD_TYPE "unknown group type";
        6 11 OFPGMFC_BAD_COMMAND "unknown command";
        6 12 OFPGMFC_BAD_BUCKET "a bucket is not valid";
        6 13 OFPGMFC_BAD_WATCH "no such port or group to watch";
        6 14 OFPGMFC_EPERM "not permitted";
        6 15 OFPGMFC_UNKNOWN_BUCKET "there is no such bucket";
        6 16 OFPGMFC_BUCKET_EXISTS "there is already a bucket with this id";
        7 0 OFPPMFC_BAD_PORT "there is no such port";
        7 1 OFPPMFC_BAD_HW_ADDR "the port has another MAC address";
        7 2 OFPPMFC_BAD_CONFIG "the port settings are not valid";
        7 3 OFPPMFC_BAD_ADVERTISE "the advertised features are not valid";
        7 4 OFPPMFC_EPERM "not permitted";
        8 0 OFPTMFC_BAD_TABLE "there is no such table";
        8 1 OFPTMFC_BAD_CONFIG "the table settings are not valid";
        8 2 OFPTMFC_EPERM "not permitted";
        9 0 OFPQOFC_BAD_PORT "there is no such port";
        9 1 OFPQOFC_BAD_QUEUE "there is no such queue";
        9 2 OFPQOFC_EPERM "not permitted";
        10 0 OFPSCFC_BAD_FLAGS "the switch flags are not valid";
        10 1 OFPSCFC_BAD_LEN "miss_send_len is not valid";
        10 2 OFPSCFC_EPERM "not permitted";
        11 0 OFPRRFC_STALE "a newer generation of primary controller has been elected";
        11 1 OFPRRFC_UNSUP "roles are not supported";
        11 2 OFPRRFC_BAD_ROLE "there is no such role";
        11 3 OFPRRFC_ID_UNSUP "the controller's id cannot be changed";
        11 4 OFPRRFC_ID_IN_USE "another controller has this id";
        12 0 OFPMMFC_UNKNOWN "unspecified";
        12 1 OFPMMFC_METER_EXISTS "the meter to add is already there";
        12 2 OFPMMFC_INVALID_METER "the meter is not valid";
        12 3 OFPMMFC_UNKNOWN_METER "there is no such meter";
        12 4 OFPMMFC_BAD_COMMAND "unknown command";
        12 5 OFPMMFC_BAD_FLAGS "the meter's flags are not supported";
        12 6 OFPMMFC_BAD_RATE "the rate is not supported";
        12 7 OFPMMFC_BAD_BURST "the burst size is not supported";
        12 8 OFPMMFC_BAD_BAND "the band is not supported";
        12 9 OFPMMFC_BAD_BAND_VALUE "the band's value is not supported";
        12 10 OFPMMFC_OUT_OF_METERS "no more meters";
        12 11 OFPMMFC_OUT_OF_BANDS "too many bands";
        13 0 OFPTFFC_BAD_TABLE "there is no such table";
        13 1 OFPTFFC_BAD_METADATA "the metadata mask is not valid";
        13 5 OFPTFFC_EPERM "not permitted";
        13 6 OFPTFFC_BAD_CAPA "the capabilities are not valid";
        13 7 OFPTFFC_BAD_MAX_ENT "max_entries is not valid";
        13 8 OFPTFFC_BAD_FEATURES "the features are not valid";
        13 9 OFPTFFC_BAD_COMMAND "unknown command";
        13 10 OFPTFFC_TOO_MANY "too many tables";
        14 0 OFPBPC_BAD_TYPE "unknown property";
        14 1 OFPBPC_BAD_LEN "a property has a wrong length";
        14 2 OFPBPC_BAD_VALUE "a property's value is not supported";
        14 3 OFPBPC_TOO_MANY "too many properties";
        14 4 OFPBPC_DUP_TYPE "a property is there twice";
        14 5 OFPBPC_BAD_EXPERIMENTER "a property of an unknown experimenter";
        14 6 OFPBPC_BAD_EXP_TYPE "unknown property of a known experimenter";
        14 7 OFPBPC_BAD_EXP_VALUE "the value of an experimenter's property is not supported";
        14 8 OFPBPC_EPERM "not permitted";
        15 0 OFPACFC_INVALID "a mask of events is not valid";
        15 1 OFPACFC_UNSUPPORTED "the choice of events is not supported";
        15 2 OFPACFC_EPERM "not permitted";
        16 0 OFPMOFC_UNKNOWN "unspecified";
        16 1 OFPMOFC_MONITOR_EXISTS "the monitor to add is already there";
        16 2 OFPMOFC_INVALID_MONITOR "the monitor is not valid";
        16 3 OFPMOFC_UNKNOWN_MONITOR "there is no such monitor";
        16 4 OFPMOFC_BAD_COMMAND "unknown command";
        16 5 OFPMOFC_BAD_FLAGS "the monitor's flags are not supported";
        16 6 OFPMOFC_BAD_TABLE_ID "there is no such table";
        16 7 OFPMOFC_BAD_OUT "the output port or group is not valid";
        17 0 OFPBFC_UNKNOWN "unspecified";
        17 1 OFPBFC_EPERM "not permitted";
        17 2 OFPBFC_BAD_ID "there is no such bundle";
        17 3 OFPBFC_BUNDLE_EXIST "the bundle to open is already there";
        17 4 OFPBFC_BUNDLE_CLOSED "the bundle is closed";
        17 5 OFPBFC_OUT_OF_BUNDLES "no more bundles";
        17 6 OFPBFC_BAD_TYPE "unknown step of a bundle";
        17 7 OFPBFC_BAD_FLAGS "flags are unknown, or not those the bundle was opened with";
        17 8 OFPBFC_MSG_BAD_LEN "the added message has a wrong length";
        17 9 OFPBFC_MSG_BAD_XID "the added message has another xid than the one that adds it";
        17 10 OFPBFC_MSG_UNSUP "this kind of message cannot be in a bundle";
        17 11 OFPBFC_MSG_CONFLICT "messages in the bundle do not go together";
        17 12 OFPBFC_MSG_TOO_MANY "too many messages in the bundle";
        17 13 OFPBFC_MSG_FAILED "a message in the bundle failed, so none was done";
        17 14 OFPBFC_TIMEOUT "the bundle took too long and was discarded";
        17 15 OFPBFC_BUNDLE_IN_PROGRESS "another bundle holds what this one needs";
        17 16 OFPBFC_SCHED_NOT_SUPPORTED "a commit cannot be scheduled";
        17 17 OFPBFC_SCHED_FUTURE "the scheduled commit is too far ahead";
        17 18 OFPBFC_SCHED_PAST "the scheduled commit is in the past";
    }
    NICIRA {
        0xffff 2 NXBRC_NXM_INVALID "the NXM match is not valid";
        0xffff 3 NXBRC_NXM_BAD_TYPE "an NXM field, or its mask or length, is not valid";
        0xffff 4 NXBRC_MUST_BE_ZERO "a field that must be zero is not";
        0xffff 5 NXBRC_BAD_REASON "the reason of a port status is not valid";
        0xffff 9 NXBRC_FM_BAD_EVENT "the event of a flow monitor is not valid";
        0xffff 10 NXBRC_UNENCODABLE_ERROR "an error that this protocol version cannot say";
        0xffff 11 NXBAC_MUST_BE_ZERO "an action's argument that must be zero is not";
        0xffff 12 NXFMFC_HARDWARE "the hardware failed";
        0xffff 13 NXFMFC_BAD_TABLE_ID "there is no such table";
        0xffff 15 NXBAC_BAD_CONJUNCTION "conjunctions stand alone in a flow, with clause 1 to n and n from 2 to 64";
        0xffff 16 NXTTMFC_BAD_COMMAND "unknown command";
        0xffff 17 NXTTMFC_BAD_OPT_LEN "a tunnel option's length is a multiple of 4 up to 124";
        0xffff 18 NXTTMFC_BAD_FIELD_IDX "there are tun_metadata0 to tun_metadata63 only";
        0xffff 19 NXTTMFC_TABLE_FULL "the tunnel options together are too long";
        0xffff 20 NXTTMFC_ALREADY_MAPPED "the tun_metadata field is already mapped";
        0xffff 21 NXTTMFC_DUP_ENTRY "another field is already mapped to this tunnel option";
        0xffff 22 OFPBFC_BAD_VERSION "the added message has another version than the one that adds it";
        0xffff 23 NXQOFC_QUEUE_ERROR "the queue's details could not be read";
        0xffff 34 NXR_NOT_SUPPORTED "the datapath cannot resume packets";
        0xffff 35 NXR_STALE "the paused packet belongs to a switch that is gone";
        0xffff 36 NXST_NOT_CONFIGURED "the protocol is not configured on this switch";
        0xffff 37 NXFMFC_INVALID_TLV_FIELD "the flow uses a tun_metadata field that is not mapped";
        0xffff 38 NXTTMFC_INVALID_TLV_DEL "a flow still uses the tunnel option to delete";
        0xffff 39 NXBAC_BAD_HEADER_TYPE "the packet type cannot be encapsulated or decapsulated";
        0xffff 40 NXBAC_UNKNOWN_ED_PROP "unknown encapsulation property";
        0xffff 41 NXBAC_BAD_ED_PROP "an encapsulation property is not valid";
        0xffff 42 NXBAC_CT_DATAPATH_SUPPORT "the datapath does not support this connection tracking action";
        0xffff 43 NXBMC_CT_DATAPATH_SUPPORT "the datapath does not support this connection tracking match";
        0xffff 44 NXTFFC_DUP_TABLE "a table is there twice";
    }
}
