//! User stories: what a person does with a cluster, and what then becomes of packets, as text that can be reviewed.
//!
//! A story is one file, `e2e/stories/NAME.story`: a cluster, steps, and probes with the verdict and the names of the rules
//! that must have decided. [`parse`] reads it, [`tell`] plays it on a lab. A story about policy is told three times: as it is,
//! and on pipelines that allow all and that drop all, where it must fail; a story that does not is insensitive.
//!
//! ```text
//! # What the story shows, in a line or more.
//!
//! cluster
//!   namespace shop team=blue
//!   node node-a addresses=172.18.0.11 pods=10.10.1.0/24    (only where the conventions do not do)
//!   pod shop/web on node-a app=web TCP/80=http UDP/53
//!   serve outside TCP/443
//!   tunnel vxlan
//!   controllers 2                                 (one, where nothing is said)
//!   certificates 6s                               how long certificates count (30 days, where nothing is said)
//!
//! apply deny.yaml                                 a file of the source directory: added, or edited
//!   apiVersion: …
//! remove deny.yaml
//! rename deny.yaml closed.yaml
//! attach                                          pods that come later; `address=` asks for an address
//!   pod shop/new on node-b app=new TCP/80
//! attach watched by shop/client                   … while these flood the new pod: nothing may arrive
//! detach shop/new
//! restart agent node-a | controller [1]
//! start | stop | pause | resume controller 1      a paused one keeps its connections and says nothing
//! part node-a from controller 1                   what they send each other is lost; `rejoin node-a with controller 1` ends it
//! certify node-a by another cluster               its agent starts again with that; `certify node-a` gives it one of its own, which it finds
//! certificates are renewed                        those that nodes have now expire, newer ones have taken their place
//! restart switch node-a while shop/client floods shop/web    nothing may arrive meanwhile
//! neighbour shop/client                           the pod sends to the node's own MAC from now on
//!
//! probe
//!   shop/client -> shop/web TCP 80 Reached by NetworkPolicy/shop/allow ingress[0]
//!   shop/client -> shop/web ICMP TimedOut        no family named: both
//!   shop/client -> outside TCP 443 IPv4 seen=node-a Reached
//!   shop/client -> shop/web UDP 53 size=full Reached
//!
//! eventually                                      as `probe`, asked again until all is as written, for some seconds
//!   shop/client -> shop/web TCP 80 Reached
//!
//! open a shop/client -> shop/web TCP 80           a conversation that is kept, one a family; more may share the name
//! exchange a Reached
//! stream a                                        the server speaks alone from now on (UDP)
//! streaming a yes
//! antctl node-a get podinterface web -n shop      what antctl prints on a node; a line of it has each of these words in it
//!   shop web
//! antctl node-a get controllerinfo --server CONTROLLER    over the network, with a client's certificate
//!   Ready
//! forge
//!   shop/client -> shop/web datagram source=shop/other port=53 Unseen
//! ```

mod antctl;
mod parse;
mod run;
mod step;

pub use parse::{parse, parse_file};
pub use run::{Outcome, Telling, tell, tell_once, tell_thrice};
pub use step::{Seen, Step, Story};
