//! One OpenFlow connection: the handshake, then a reader and a writer that never wait for each other.
//!
//! vswitchd stops reading while a hundred answers wait to be sent, so a program that writes without reading stands still
//! as soon as enough of its messages are rejected. Here the reader always reads. It waits for one thing only, a multipart
//! answer that is taken too slowly; and what it has to send itself (echo replies) goes past the writer's queue.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::{LinkError, Rejection};
use super::events::Queue;
use super::frame::{Frames, HEADER, Header, VERSION, kind, message, u16_at, u32_at};
use super::waiting::Waiting;

/// Encoded pieces, of about 64 KiB each, that may wait for the writer.
const PIECES_AHEAD: usize = 8;
/// A switch that says nothing for this long is asked for an echo …
pub(super) const IDLE: Duration = Duration::from_secs(5);
/// … and is taken for dead after so many unanswered ones.
const ECHOES: u32 = 6;
/// How long the handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// The Nicira vendor number and message types used here (`nicira-ext.h`, `ofp-msgs.h`).
const NICIRA: u32 = 0x2320;
const SET_PACKET_IN_FORMAT: u32 = 16;
/// `NXPIF_NXT_PACKET_IN2`: packets come with registers, userdata and continuation.
const PACKET_IN2: u32 = 2;
/// Packets to a controller are sent whole. A service connection gets no packets at all until it sets this.
const WHOLE_PACKETS: u16 = 0xffff;

/// A connection after its handshake.
pub(super) struct Link {
    reader: OwnedReadHalf,
    frames: Frames,
    urgent: mpsc::UnboundedSender<Vec<u8>>,
    pub(super) outgoing: mpsc::Sender<Vec<u8>>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) datapath_id: u64,
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
            datapath_id: 0,
            writer: tokio::spawn(write(writer, urgent_pieces, pieces)),
        };
        let handshake = timeout(HANDSHAKE_WITHIN, link.handshake(queue)).await;
        handshake.map_err(|_| LinkError::Silent(HANDSHAKE_WITHIN))??;
        Ok(link)
    }

    async fn handshake(&mut self, queue: &Queue) -> Result<(), LinkError> {
        // One element, the version bitmap, with bit 6: OpenFlow 1.5 (section 7.5.1).
        self.say(message(kind::HELLO, 0, &[0, 1, 0, 8, 0, 0, 0, 1 << VERSION]));
        self.expect(kind::HELLO, queue, check_hello).await??;
        let mut config = [0; 4];
        config[2..].copy_from_slice(&WHOLE_PACKETS.to_be_bytes());
        self.say(message(kind::SET_CONFIG, 0, &config));
        let format = [NICIRA, SET_PACKET_IN_FORMAT, PACKET_IN2].map(u32::to_be_bytes).concat();
        self.say(message(kind::EXPERIMENTER, 0, &format));
        self.say(message(kind::FEATURES_REQUEST, 0, &[]));
        let id = |frame: &[u8]| u64::from(u32_at(frame, HEADER)) << 32 | u64::from(u32_at(frame, HEADER + 4));
        self.datapath_id = self.expect(kind::FEATURES_REPLY, queue, id).await?;
        Ok(())
    }

    /// Reads until a message of this type comes; everything else but an error is handled as ever.
    async fn expect<T>(&mut self, wanted: u8, queue: &Queue, read: impl FnOnce(&[u8]) -> T) -> Result<T, LinkError> {
        loop {
            while let Some((header, frame)) = self.frames.next()? {
                if header.kind == kind::ERROR {
                    return Err(LinkError::Refused(Rejection::read(frame)));
                }
                if header.kind == wanted {
                    return Ok(read(frame));
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
                    self.say(message(kind::ECHO_REQUEST, 0, &[]));
                }
            }
        }
    }

    async fn read(&mut self) -> Result<(), LinkError> {
        match self.reader.read_buf(self.frames.space()).await? {
            0 => Err(LinkError::Closed),
            _ => Ok(()),
        }
    }

    fn say(&self, message: Vec<u8>) {
        let _ = self.urgent.send(message); // a writer that is gone ends the reader too
    }
}

async fn dispatch(
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
                    tracing::warn!(error = %Rejection::read(frame), xid = header.xid, "an error nobody waits for")
                }
                kind::EXPERIMENTER => queue.message(frame),
                _ => tracing::debug!(?header, "a message nobody waits for"),
            }
        }
    }
}

/// The versions are those of the bitmap or, without one, all up to that of the header.
fn check_hello(frame: &[u8]) -> Result<(), LinkError> {
    let mut offset = HEADER;
    while offset + 8 <= frame.len() {
        let (element, length) = (u16_at(frame, offset), usize::from(u16_at(frame, offset + 2)));
        if element == 1 && length >= 8 {
            let bitmap = u32_at(frame, offset + 4);
            let offers = || {
                (1..32).filter(|bit| bitmap & (1 << bit) != 0).map(|bit| format!("1.{}", bit - 1)).collect::<Vec<_>>()
            };
            return if bitmap & (1 << VERSION) != 0 {
                Ok(())
            } else {
                Err(LinkError::Version { offers: offers().join(", ") })
            };
        }
        offset += length.max(4).next_multiple_of(8);
    }
    let highest = frame.first().copied().unwrap_or(0);
    if highest >= VERSION {
        return Ok(());
    }
    Err(LinkError::Version { offers: format!("at most 1.{}", highest.saturating_sub(1)) })
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
        if let Err(error) = stream.write_all(&piece).await {
            tracing::debug!(%error, "writing to the switch");
            return; // dropping the half shuts the socket down, which ends the reader too
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_bitmap_or_of_the_header() {
        let hello = |version: u8, body: &[u8]| {
            let mut frame = message(kind::HELLO, 0, body);
            frame[0] = version;
            check_hello(&frame).map_err(|error| error.to_string())
        };
        assert_eq!(hello(6, &[]), Ok(()));
        assert_eq!(hello(6, &[0, 1, 0, 8, 0, 0, 0, 0x40]), Ok(()));
        assert_eq!(hello(7, &[0, 9, 0, 5, 1, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0, 0x72]), Ok(()), "an unknown element first");
        assert!(hello(6, &[0, 1, 0, 8, 0, 0, 0, 0x12]).unwrap_err().contains("1.0, 1.3"));
        assert!(hello(5, &[]).unwrap_err().contains("at most 1.4"));
        assert!(hello(5, &[0, 0, 0, 0, 0, 0, 0, 0]).is_err(), "a length of zero ends");
    }

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
            let request = played.expect(kind::FEATURES_REQUEST).await;
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
        assert_eq!(link.datapath_id, 7);
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
