//! Every field that Ferrant can match or write, one line each. Names and meanings: ovs-fields(7).
//!
//! The order of the lines is the order of the fields on the wire: what Open vSwitch 3.1 itself emits, so that a dump has the same
//! bytes as what was sent, and a field always comes after those it needs (`eth_type` before `ip_src` before `tcp_dst`).
//!
//! Not here, so kept as raw bytes when met: MPLS (`mpls_*`) and NSH (`nsh_*`), which no table of ours can see.

use super::{Access::*, Class::*, Format::*, Masking::*, Prerequisite as Needs, fields};

fields! {
    // variant                 name               bits masking  access     shown as     needs            numbers, oldest form first
    PacketType               = "packet_type"       32 Exact    ReadOnly   PacketTypes  None             [OxmOf "PACKET_TYPE" 44];
    DpHash                   = "dp_hash"           32 Maskable ReadOnly   Hexadecimal  None             [NxmNx "DP_HASH" 35, NxoxmEt "DP_HASH" 0, NxmNx "DP_HASH" 35];
    RecircId                 = "recirc_id"         32 Exact    ReadOnly   Decimal      None             [NxmNx "RECIRC_ID" 36];
    ConjId                   = "conj_id"           32 Exact    ReadOnly   Decimal      None             [NxmNx "CONJ_ID" 37];
    InPort16                 = "in_port"           16 Exact    ReadWrite  Port16       None             [NxmOf "IN_PORT" 0];
    InPort                   = "in_port_oxm"       32 Exact    ReadWrite  Port32       None             [OxmOf "IN_PORT" 0];
    ActsetOutput             = "actset_output"     32 Exact    ReadOnly   Port32       None             [OnfoxmEt "ACTSET_OUTPUT" 43, OxmOf "ACTSET_OUTPUT" 43];
    // Ethernet
    EthSrc                   = "eth_src"           48 Maskable ReadWrite  Ethernet     Ethernet         [NxmOf "ETH_SRC" 2, OxmOf "ETH_SRC" 4];
    EthDst                   = "eth_dst"           48 Maskable ReadWrite  Ethernet     Ethernet         [NxmOf "ETH_DST" 1, OxmOf "ETH_DST" 3];
    EthType                  = "eth_type"          16 Exact    ReadOnly   Hexadecimal  Ethernet         [NxmOf "ETH_TYPE" 3, OxmOf "ETH_TYPE" 5];
    VlanTci                  = "vlan_tci"          16 Maskable ReadWrite  Hexadecimal  Ethernet         [NxmOf "VLAN_TCI" 4];
    VlanVid                  = "vlan_vid"          13 Maskable ReadWrite  Decimal      Ethernet         [OxmOf "VLAN_VID" 6];
    VlanPcp                  = "vlan_pcp"           3 Exact    ReadWrite  Decimal      Vlan             [OxmOf "VLAN_PCP" 7];
    // IP
    Ipv4Src                  = "ip_src"            32 Maskable ReadWrite  Ipv4         Ipv4             [NxmOf "IP_SRC" 7, OxmOf "IPV4_SRC" 11];
    Ipv4Dst                  = "ip_dst"            32 Maskable ReadWrite  Ipv4         Ipv4             [NxmOf "IP_DST" 8, OxmOf "IPV4_DST" 12];
    Ipv6Src                  = "ipv6_src"         128 Maskable ReadWrite  Ipv6         Ipv6             [NxmNx "IPV6_SRC" 19, OxmOf "IPV6_SRC" 26];
    Ipv6Dst                  = "ipv6_dst"         128 Maskable ReadWrite  Ipv6         Ipv6             [NxmNx "IPV6_DST" 20, OxmOf "IPV6_DST" 27];
    NwFrag                   = "ip_frag"            2 Maskable ReadOnly   Frag         Ip               [NxmNx "IP_FRAG" 26];
    NwTos                    = "nw_tos"             8 Exact    ReadWrite  Decimal      Ip               [NxmOf "IP_TOS" 5];
    IpDscp                   = "ip_dscp"            6 Exact    ReadWrite  Decimal      Ip               [OxmOf "IP_DSCP" 8];
    IpEcn                    = "nw_ecn"             2 Exact    ReadWrite  Decimal      Ip               [NxmNx "IP_ECN" 28, OxmOf "IP_ECN" 9];
    NwTtl                    = "nw_ttl"             8 Exact    ReadWrite  Decimal      Ip               [NxmNx "IP_TTL" 29];
    Ipv6Label                = "ipv6_label"        20 Maskable ReadWrite  Hexadecimal  Ipv6             [NxmNx "IPV6_LABEL" 27, OxmOf "IPV6_FLABEL" 28];
    IpProto                  = "nw_proto"           8 Exact    ReadOnly   Decimal      Ip               [NxmOf "IP_PROTO" 6, OxmOf "IP_PROTO" 10];
    // above IP
    TcpSrc                   = "tcp_src"           16 Maskable ReadWrite  Decimal      Tcp              [NxmOf "TCP_SRC" 9, OxmOf "TCP_SRC" 13];
    TcpDst                   = "tcp_dst"           16 Maskable ReadWrite  Decimal      Tcp              [NxmOf "TCP_DST" 10, OxmOf "TCP_DST" 14];
    TcpFlags                 = "tcp_flags"         12 Maskable ReadOnly   TcpFlags     Tcp              [NxmNx "TCP_FLAGS" 34, OxmOf "TCP_FLAGS" 42];
    UdpSrc                   = "udp_src"           16 Maskable ReadWrite  Decimal      Udp              [NxmOf "UDP_SRC" 11, OxmOf "UDP_SRC" 15];
    UdpDst                   = "udp_dst"           16 Maskable ReadWrite  Decimal      Udp              [NxmOf "UDP_DST" 12, OxmOf "UDP_DST" 16];
    SctpSrc                  = "sctp_src"          16 Maskable ReadWrite  Decimal      Sctp             [OxmOf "SCTP_SRC" 17];
    SctpDst                  = "sctp_dst"          16 Maskable ReadWrite  Decimal      Sctp             [OxmOf "SCTP_DST" 18];
    Icmpv4Type               = "icmp_type"          8 Exact    ReadWrite  Decimal      Icmpv4           [NxmOf "ICMP_TYPE" 13, OxmOf "ICMPV4_TYPE" 19];
    Icmpv4Code               = "icmp_code"          8 Exact    ReadWrite  Decimal      Icmpv4           [NxmOf "ICMP_CODE" 14, OxmOf "ICMPV4_CODE" 20];
    Icmpv6Type               = "icmpv6_type"        8 Exact    ReadWrite  Decimal      Icmpv6           [NxmNx "ICMPV6_TYPE" 21, OxmOf "ICMPV6_TYPE" 29];
    Icmpv6Code               = "icmpv6_code"        8 Exact    ReadWrite  Decimal      Icmpv6           [NxmNx "ICMPV6_CODE" 22, OxmOf "ICMPV6_CODE" 30];
    NdReserved               = "nd_reserved"       32 Exact    ReadWrite  Decimal      Nd               [EricoxmOf "ICMPV6_ND_RESERVED" 1];
    NdTarget                 = "nd_target"        128 Maskable ReadWrite  Ipv6         Nd               [NxmNx "ND_TARGET" 23, OxmOf "IPV6_ND_TARGET" 31];
    NdOptionsType            = "nd_options_type"    8 Exact    ReadWrite  Decimal      Nd               [EricoxmOf "ICMPV6_ND_OPTIONS_TYPE" 2];
    NdSll                    = "nd_sll"            48 Maskable ReadWrite  Ethernet     NdSolicit        [NxmNx "ND_SLL" 24, OxmOf "IPV6_ND_SLL" 32];
    NdTll                    = "nd_tll"            48 Maskable ReadWrite  Ethernet     NdAdvert         [NxmNx "ND_TLL" 25, OxmOf "IPV6_ND_TLL" 33];
    // ARP
    ArpOp                    = "arp_op"            16 Exact    ReadWrite  Decimal      Arp              [NxmOf "ARP_OP" 15, OxmOf "ARP_OP" 21];
    ArpSpa                   = "arp_spa"           32 Maskable ReadWrite  Ipv4         Arp              [NxmOf "ARP_SPA" 16, OxmOf "ARP_SPA" 22];
    ArpTpa                   = "arp_tpa"           32 Maskable ReadWrite  Ipv4         Arp              [NxmOf "ARP_TPA" 17, OxmOf "ARP_TPA" 23];
    ArpSha                   = "arp_sha"           48 Maskable ReadWrite  Ethernet     Arp              [NxmNx "ARP_SHA" 17, OxmOf "ARP_SHA" 24];
    ArpTha                   = "arp_tha"           48 Maskable ReadWrite  Ethernet     Arp              [NxmNx "ARP_THA" 18, OxmOf "ARP_THA" 25];
    // tunnel
    TunId                    = "tun_id"            64 Maskable ReadWrite  Hexadecimal  None             [NxmNx "TUN_ID" 16, OxmOf "TUNNEL_ID" 38];
    TunFlags                 = "tun_flags"          1 Maskable ReadWrite  TunnelFlags  None             [NxmNx "TUN_FLAGS" 104];
    TunSrc                   = "tun_src"           32 Maskable ReadWrite  Ipv4         None             [NxmNx "TUN_IPV4_SRC" 31];
    TunDst                   = "tun_dst"           32 Maskable ReadWrite  Ipv4         None             [NxmNx "TUN_IPV4_DST" 32];
    TunIpv6Src               = "tun_ipv6_src"     128 Maskable ReadWrite  Ipv6         None             [NxmNx "TUN_IPV6_SRC" 109];
    TunIpv6Dst               = "tun_ipv6_dst"     128 Maskable ReadWrite  Ipv6         None             [NxmNx "TUN_IPV6_DST" 110];
    TunGbpId                 = "tun_gbp_id"        16 Maskable ReadWrite  Decimal      None             [NxmNx "TUN_GBP_ID" 38];
    TunGbpFlags              = "tun_gbp_flags"      8 Maskable ReadWrite  Hexadecimal  None             [NxmNx "TUN_GBP_FLAGS" 39];
    TunMetadata(u8, 64)      = "tun_metadata"     992 Maskable ReadWrite  Hexadecimal  None             [NxmNx "TUN_METADATA" 40];
    TunErspanIdx             = "tun_erspan_idx"    20 Maskable ReadWrite  Hexadecimal  None             [NxoxmEt "ERSPAN_IDX" 11];
    TunErspanVer             = "tun_erspan_ver"     4 Maskable ReadWrite  Decimal      None             [NxoxmEt "ERSPAN_VER" 12];
    TunErspanDir             = "tun_erspan_dir"     1 Maskable ReadWrite  Decimal      None             [NxoxmEt "ERSPAN_DIR" 13];
    TunErspanHwid            = "tun_erspan_hwid"    6 Maskable ReadWrite  Hexadecimal  None             [NxoxmEt "ERSPAN_HWID" 14];
    TunGtpuFlags             = "tun_gtpu_flags"     8 Maskable ReadOnly   Hexadecimal  None             [NxoxmEt "GTPU_FLAGS" 15];
    TunGtpuMsgtype           = "tun_gtpu_msgtype"   8 Maskable ReadOnly   Decimal      None             [NxoxmEt "GTPU_MSGTYPE" 16];
    // registers: three views of the same 512 bits; a match carries xregs, as the switch does
    Reg(u8, 16)              = "reg"               32 Maskable ReadWrite  Hexadecimal  None             [NxmNx "REG" 0];
    Xreg(u8, 8)              = "xreg"              64 Maskable ReadWrite  Hexadecimal  None             [PacketRegister "" 0];
    Xxreg(u8, 4)             = "xxreg"            128 Maskable ReadWrite  Hexadecimal  None             [NxmNx "XXREG" 111];
    PktMark                  = "pkt_mark"          32 Maskable ReadWrite  Hexadecimal  None             [NxmNx "PKT_MARK" 33];
    // connection tracking
    CtState                  = "ct_state"           8 Maskable ReadOnly   CtStates     None             [NxmNx "CT_STATE" 105];
    CtZone                   = "ct_zone"           16 Exact    ReadOnly   Hexadecimal  None             [NxmNx "CT_ZONE" 106];
    CtMark                   = "ct_mark"           32 Maskable ReadWrite  Hexadecimal  None             [NxmNx "CT_MARK" 107];
    CtLabel                  = "ct_label"         128 Maskable ReadWrite  Hexadecimal  None             [NxmNx "CT_LABEL" 108];
    CtNwSrc                  = "ct_nw_src"         32 Maskable ReadOnly   Ipv4         CtIpv4           [NxmNx "CT_NW_SRC" 120];
    CtIpv6Src                = "ct_ipv6_src"      128 Maskable ReadOnly   Ipv6         CtIpv6           [NxmNx "CT_IPV6_SRC" 122];
    CtNwDst                  = "ct_nw_dst"         32 Maskable ReadOnly   Ipv4         CtIpv4           [NxmNx "CT_NW_DST" 121];
    CtIpv6Dst                = "ct_ipv6_dst"      128 Maskable ReadOnly   Ipv6         CtIpv6           [NxmNx "CT_IPV6_DST" 123];
    CtNwProto                = "ct_nw_proto"        8 Exact    ReadOnly   Decimal      Ct               [NxmNx "CT_NW_PROTO" 119];
    CtTpSrc                  = "ct_tp_src"         16 Maskable ReadOnly   Decimal      CtProto          [NxmNx "CT_TP_SRC" 124];
    CtTpDst                  = "ct_tp_dst"         16 Maskable ReadOnly   Decimal      CtProto          [NxmNx "CT_TP_DST" 125];
    Metadata                 = "metadata"          64 Maskable ReadWrite  Hexadecimal  None             [OxmOf "METADATA" 2];
}
