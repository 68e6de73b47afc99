//! Frames come in parts and are seen whole.

use apis::stream as wire;

use crate::state::object::Change;
use crate::state::wire::BadMessage;
use crate::state::{Body, Changed, Frame, Upstream, Version};

/// A frame in the making, of one stream.
#[derive(Debug)]
pub struct Gathering {
    node: String,
    frame: Option<(u64, Body)>,
    /// Of the last whole frame: the next says what is different.
    version: Version,
}

impl Gathering {
    /// Between frames.
    pub fn new(node: &str) -> Self {
        Self { node: node.to_owned(), frame: None, version: Version::default() }
    }

    /// Whether a frame has begun and not ended.
    pub fn is_under_way(&self) -> bool {
        self.frame.is_some()
    }

    /// Takes a part; the frame when it was the last.
    ///
    /// A replacing frame is built beside what holds; nothing that the old state has goes before the frame's last part is here.
    ///
    /// # Errors
    /// When the part does not continue what was begun, or something in it is not valid.
    pub fn take(&mut self, part: wire::Frame) -> Result<Option<Frame>, BadMessage> {
        let number = part.number;
        let (_, body) = match &mut self.frame {
            Some((begun, _)) if *begun != number => {
                let what = format!("a part of frame {number} before the end of frame {begun}");
                return Err(BadMessage { object: "a frame".to_owned(), what });
            }
            Some(frame) => frame,
            none if part.replace => none.insert((number, Body::Replace(Box::new(Upstream::new(&self.node))))),
            none => none.insert((number, Body::Update(Vec::new()))),
        };
        // Everything is looked at when a replacing frame is complete; what changed on the way does not matter.
        let mut ignored = Changed::default();
        for change in part.changes {
            let change = Change::try_from(change)?;
            match body {
                Body::Update(changes) => changes.push(change),
                Body::Replace(upstream) => upstream.apply(change, &mut ignored),
            }
        }
        if !part.last {
            return Ok(None);
        }
        self.version.merge(part.version.unwrap_or_default());
        let version = self.version.clone();
        Ok(self.frame.take().map(|(number, body)| Frame { number, version, stream: 0, body }))
    }
}
