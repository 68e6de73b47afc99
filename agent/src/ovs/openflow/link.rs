//! One OpenFlow connection: the handshake, then a reader and a writer that never wait for each other.
//!
//! vswitchd stops reading while a hundred answers wait to be sent, so a program that writes without reading stands still
//! as soon as enough of its messages are rejected. Here the reader always reads. It waits for one thing only, a multipart
//! answer that is taken too slowly; and what it has to send itself (echo replies) goes past the writer's queue.

#![allow(clippy::disallowed_methods, reason = "a wrapper: the OpenFlow connection")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openflow::switch::SwitchConfig;
use openflow::{DecodeError, EncodeError, Features, HEADER_LENGTH as HEADER, Hello, Message, PacketInFormat};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connection::Heard;
use super::error::{LinkError, switch_error};
use super::events::Queue;
use super::frame::{Frames, Header, kind, message, u32_at};
use super::waiting::Waiting;

/// Encoded pieces, of about 64 KiB each, that may wait for the writer.
const PIECES_AHEAD: usize = 8;
/// A switch that says nothing for this long is asked for an echo …
pub(super) const IDLE: Duration = Duration::from_secs(5);
/// … and is taken for dead after so many unanswered ones.
const ECHOES: u32 = 6;
/// How long the handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// Packets to a controller are sent whole. A service connection gets no packets at all until it sets this.
const WHOLE_PACKETS: u16 = 0xffff;

/// A connection after its handshake.
pub(super) struct Link {
    reader: OwnedReadHalf,
    frames: Frames,
    urgent: mpsc::UnboundedSender<Vec<u8>>,
    pub(super) outgoing: mpsc::Sender<Vec<u8>>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) features: Features,
    pub(super) heard: Arc<Heard>,
    writer: tokio::task::JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.writer.abort();
        self.waiting.close();
    }
}

impl Link {
    pub(super) async fn open(path: &Path, queue: &Queue) -> Result<Self, LinkError> {
        let connect = UnixStream::connect(path).await;
        let stream = connect.map_err(|source| LinkError::Connect { path: path.to_owned(), source })?;
        let (reader, writer) = stream.into_split();
        let (outgoing, pieces) = mpsc::channel(PIECES_AHEAD);
        let (urgent, urgent_pieces) = mpsc::unbounded_channel();
        let mut link = Self {
            reader,
            frames: Frames::default(),
            urgent,
            outgoing,
            waiting: Arc::default(),
            features: Features::default(),
            heard: Arc::default(),
            writer: tokio::spawn(write(writer, urgent_pieces, pieces)),
        };
        let handshake = timeout(HANDSHAKE_WITHIN, link.handshake(queue)).await;
        handshake.map_err(|_| LinkError::Silent(HANDSHAKE_WITHIN))??;
        Ok(link)
    }

    async fn handshake(&mut self, queue: &Queue) -> Result<(), LinkError> {
        self.say(Message::Hello(Hello::only_this_version()).encode(0))?;
        let hello = self.expect(kind::HELLO, queue, |message| match message {
            Message::Hello(hello) => Some(hello),
            _ => None,
        });
        let hello = hello.await?;
        if !hello.speaks_this_version() {
            let offers: Vec<_> =
                hello.versions.iter().map(|version| format!("1.{}", version.saturating_sub(1))).collect();
            return Err(LinkError::Version { offers: offers.join(", ") });
        }
        self.say(Message::SetConfig(SwitchConfig { flags: 0, miss_send_len: WHOLE_PACKETS }).encode(0))?;
        self.say(Message::SetPacketInFormat(PacketInFormat::Nicira2).encode(0))?;
        self.say(Message::FeaturesRequest.encode(0))?;
        let features = self.expect(kind::FEATURES_REPLY, queue, |message| match message {
            Message::FeaturesReply(features) => Some(features),
            _ => None,
        });
        self.features = features.await?;
        Ok(())
    }

    /// Reads until a message of this type comes; everything else but an error is handled as ever.
    async fn expect<T>(
        &mut self,
        wanted: u8,
        queue: &Queue,
        read: impl Fn(Message) -> Option<T>,
    ) -> Result<T, LinkError> {
        loop {
            while let Some((header, frame)) = self.frames.next()? {
                if header.kind == kind::ERROR {
                    return Err(LinkError::Refused(switch_error(frame)));
                }
                if header.kind == wanted {
                    let other =
                        DecodeError::Invalid { what: "handshake", problem: "a message of another type than it says" };
                    return Ok(read(Message::decode(frame)?.1).ok_or(other)?);
                }
                dispatch(header, frame, &self.urgent, &self.waiting, queue).await;
            }
            self.read().await?;
        }
    }

    /// Handles what the switch sends until the connection ends. A switch that is silent for `idle` is asked for an echo.
    pub(super) async fn run(&mut self, queue: &Queue, idle: Duration) -> LinkError {
        let mut unanswered = 0;
        loop {
            loop {
                match self.frames.next() {
                    Ok(Some((header, frame))) => dispatch(header, frame, &self.urgent, &self.waiting, queue).await,
                    Ok(None) => break,
                    Err(error) => return error.into(),
                }
            }
            match timeout(idle, self.read()).await {
                Ok(Ok(())) => unanswered = 0,
                Ok(Err(error)) => return error,
                Err(_) if unanswered == ECHOES => return LinkError::Silent(idle * ECHOES),
                Err(_) => {
                    unanswered += 1;
                    let _ = self.urgent.send(message(kind::ECHO_REQUEST, 0, &[])); // see say
                }
            }
        }
    }

    async fn read(&mut self) -> Result<(), LinkError> {
        match self.reader.read_buf(self.frames.space()).await? {
            0 => Err(LinkError::Closed),
            _ => {
                self.heard.now();
                Ok(())
            }
        }
    }

    /// Puts a message of the connection's own before everything that waits.
    fn say(&self, message: Result<Vec<u8>, EncodeError>) -> Result<(), LinkError> {
        let _ = self.urgent.send(message?); // a writer that is gone ends the reader too
        Ok(())
    }
}

pub(super) async fn dispatch(
    header: Header,
    frame: &[u8],
    urgent: &mpsc::UnboundedSender<Vec<u8>>,
    waiting: &Waiting,
    queue: &Queue,
) {
    match header.kind {
        kind::ECHO_REQUEST => {
            let _ = urgent.send(message(kind::ECHO_REPLY, header.xid, &frame[HEADER..]));
        }
        kind::ECHO_REPLY | kind::HELLO => {}
        kind::PORT_STATUS => queue.port(u32_at(frame, HEADER + 8), frame),
        kind::PACKET_IN | kind::FLOW_REMOVED => queue.message(frame),
        _ => {
            if waiting.deliver(header, frame).await {
                return;
            }
            match header.kind {
                kind::ERROR => {
                    tracing::warn!(error = %switch_error(frame), xid = header.xid, "an error nobody waits for")
                }
                // Of the flow monitors: what the switch tells of its own accord has no xid.
                kind::MULTIPART_REPLY if header.xid == 0 => queue.message(frame),
                kind::EXPERIMENTER => queue.message(frame),
                _ => tracing::debug!(?header, "a message nobody waits for"),
            }
        }
    }
}

async fn write(
    mut stream: OwnedWriteHalf,
    mut urgent: mpsc::UnboundedReceiver<Vec<u8>>,
    mut pieces: mpsc::Receiver<Vec<u8>>,
) {
    loop {
        let piece = tokio::select! {
            biased;
            Some(piece) = urgent.recv() => piece,
            Some(piece) = pieces.recv() => piece,
            else => return,
        };
        let written = stream.write_all(&piece).await;
        fault::point("openflow.piece.written");
        if let Err(error) = written {
            tracing::debug!(%error, "writing to the switch");
            return; // dropping the half shuts the socket down, which ends the reader too
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEATURES_REQUEST: u8 = 5;

    /// A switch that the test plays.
    struct Played(UnixStream, Frames);

    impl Played {
        async fn send(&mut self, bytes: &[u8]) {
            self.0.write_all(bytes).await.unwrap();
        }

        async fn expect(&mut self, wanted: u8) -> Vec<u8> {
            loop {
                while let Some((header, frame)) = self.1.next().unwrap() {
                    if header.kind == wanted {
                        return frame.to_vec();
                    }
                }
                assert!(self.0.read_buf(self.1.space()).await.unwrap() > 0);
            }
        }
    }

    #[tokio::test]
    async fn a_switch_of_other_versions_is_refused_with_what_it_offers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("br.mgmt");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let hello = |version: u8, body: &[u8]| {
            let mut hello = message(kind::HELLO, 0, body);
            hello[0] = version;
            hello
        };
        for (hello, offers) in
            [(hello(6, &[0, 1, 0, 8, 0, 0, 0, 0x12]), "1.0, 1.3"), (hello(4, &[]), "1.0, 1.1, 1.2, 1.3")]
        {
            let switch = async {
                let mut played = Played(listener.accept().await.unwrap().0, Frames::default());
                played.send(&hello).await;
                played // held open until the other side has read it
            };
            let queue = Queue::default();
            let (link, _played) = tokio::join!(Link::open(&path, &queue), switch);
            assert!(matches!(link.err(), Some(LinkError::Version { offers: found }) if found == offers), "{offers}");
        }
    }

    async fn open() -> (Link, Played) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("br.mgmt");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let queue = Queue::default();
        let switch = async {
            let mut played = Played(listener.accept().await.unwrap().0, Frames::default());
            // The hello in two pieces, an echo request before the features.
            let hello = message(kind::HELLO, 9, &[]);
            played.send(&hello[..3]).await;
            played.expect(kind::HELLO).await;
            played.send(&[&hello[3..], &message(kind::ECHO_REQUEST, 5, b"early")].concat()).await;
            let request = played.expect(FEATURES_REQUEST).await;
            let mut features = message(kind::FEATURES_REPLY, u32_at(&request, 4), &[0; 24]);
            features[15] = 7;
            played.send(&features).await;
            played
        };
        let (link, mut played) = tokio::join!(Link::open(&path, &queue), switch);
        assert_eq!(&played.expect(kind::ECHO_REPLY).await[HEADER..], b"early");
        (link.unwrap(), played)
    }

    #[tokio::test]
    async fn echo_is_answered_and_asked_for_and_a_silent_switch_given_up() {
        let (mut link, mut played) = open().await;
        assert_eq!(link.features.datapath_id, 7);
        let (queue, idle) = (Queue::default(), Duration::from_millis(20));
        let switch = async {
            played.send(&message(kind::ECHO_REQUEST, 77, b"are you there?")).await;
            assert_eq!(played.expect(kind::ECHO_REPLY).await, message(kind::ECHO_REPLY, 77, b"are you there?"));
            for _ in 0..2 * ECHOES {
                let request = played.expect(kind::ECHO_REQUEST).await;
                played.send(&message(kind::ECHO_REPLY, u32_at(&request, 4), &[])).await;
            }
            played // and now it says nothing more
        };
        let (error, mut played) = tokio::join!(link.run(&queue, idle), switch);
        assert!(matches!(error, LinkError::Silent(_)), "{error}");
        for _ in 0..ECHOES {
            played.expect(kind::ECHO_REQUEST).await;
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_fails_what_waits() {
        let (mut link, played) = open().await;
        let (_, reply) = link.waiting.reply().unwrap();
        let (_, mut parts) = link.waiting.parts().unwrap();
        drop(played);
        let error = link.run(&Queue::default(), IDLE).await;
        assert!(matches!(error, LinkError::Closed | LinkError::Io(_)), "{error}");
        let waiting = link.waiting.clone();
        drop(link);
        assert!(reply.await.is_err());
        assert!(parts.recv().await.is_none());
        assert!(waiting.reply().is_err());
    }
}
