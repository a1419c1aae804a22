//! What a peer can do wrong on a WebSocket: [`WebSocketError`].

use tungstenite::protocol::frame::coding::CloseCode;

/// Why a WebSocket did not come about, or ended before its time.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WebSocketError {
    /// The peer's first bytes are not HTTP.
    #[error("the peer does not speak HTTP")]
    NotHttp,
    /// The peer starts TLS where none is expected.
    #[error("the peer speaks TLS on a port without it")]
    PeerSpeaksTls,
    /// The request or the response has no end within the limit.
    #[error("the opening is longer than {limit} bytes")]
    OpeningTooLong {
        /// The limit.
        limit: usize,
    },
    /// The request is HTTP, but not one for a WebSocket.
    #[error("the request does not ask for a WebSocket")]
    NotAnUpgrade,
    /// The request is for another version of WebSocket than 13.
    #[error("the peer speaks another version of WebSocket than 13")]
    VersionUnsupported,
    /// The path is not one of those served.
    #[error("nothing is served at `{path}`")]
    PathUnknown {
        /// What was asked for.
        path: Box<str>,
    },
    /// The web page that the client belongs to is not allowed to connect.
    #[error("pages of `{origin}` may not connect")]
    OriginForbidden {
        /// The web page's origin.
        origin: Box<str>,
    },
    /// The two ends have no subprotocol in common.
    #[error("no common subprotocol; `mqtt` is expected")]
    SubprotocolMissing,
    /// The options of the client make no valid request.
    #[error("`{value}` cannot stand in a request")]
    RequestInvalid {
        /// What cannot.
        value: Box<str>,
    },
    /// The server answered with something else than a WebSocket.
    #[error("the server answered with status {status}")]
    Refused {
        /// The status of HTTP.
        status: u16,
    },
    /// The server's answer does not follow from the request.
    #[error("the server's answer does not fit the request")]
    ResponseInvalid,
    /// A client's frame is not masked, or a server's is.
    #[error("the mask of a frame is missing, or should be")]
    MaskWrong,
    /// A frame uses an extension that was not agreed on.
    #[error("a frame uses an extension")]
    ExtensionUnknown,
    /// A frame is of no known kind.
    #[error("unknown frame type {opcode:#x}")]
    OpcodeUnknown {
        /// The kind.
        opcode: u8,
    },
    /// A text frame: MQTT travels in binary frames only.
    #[error("a text frame where only binary ones are allowed")]
    TextReceived,
    /// A frame continues a message that was not begun, or begins one inside another.
    #[error("fragments of a message are out of order")]
    FragmentMisplaced,
    /// A control frame is fragmented, or longer than 125 bytes.
    #[error("a control frame is fragmented or too long")]
    ControlInvalid,
    /// A length takes more bytes than it needs.
    #[error("a frame's length is not in its shortest form")]
    LengthNotShortest,
    /// A frame is longer than this side accepts.
    #[error("a frame of {length} bytes exceeds the limit of {limit}")]
    FrameTooLong {
        /// Its length.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// A close frame holds half a code, a code that may not be sent, or text that is not UTF-8.
    #[error("a close frame is ill-formed")]
    CloseInvalid,
    /// The peer sends frames without content as fast as it can.
    #[error("the peer sends control frames and nothing else")]
    ControlFlood,
}

impl WebSocketError {
    /// Returns the code of the close frame that answers this error.
    pub(super) fn close_code(&self) -> u16 {
        match self {
            Self::TextReceived => CloseCode::Unsupported,
            Self::FrameTooLong { .. } => CloseCode::Size,
            Self::ControlFlood => CloseCode::Policy,
            Self::NotHttp
            | Self::PeerSpeaksTls
            | Self::OpeningTooLong { .. }
            | Self::NotAnUpgrade
            | Self::VersionUnsupported
            | Self::PathUnknown { .. }
            | Self::OriginForbidden { .. }
            | Self::SubprotocolMissing
            | Self::RequestInvalid { .. }
            | Self::Refused { .. }
            | Self::ResponseInvalid
            | Self::MaskWrong
            | Self::ExtensionUnknown
            | Self::OpcodeUnknown { .. }
            | Self::FragmentMisplaced
            | Self::ControlInvalid
            | Self::LengthNotShortest
            | Self::CloseInvalid => CloseCode::Protocol,
        }
        .into()
    }

    /// Returns the HTTP status and the headers that answer this error, while HTTP is spoken.
    pub(super) const fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::OpeningTooLong { .. } => Some("431 Request Header Fields Too Large\r\n"),
            Self::NotAnUpgrade | Self::SubprotocolMissing => Some("400 Bad Request\r\n"),
            Self::VersionUnsupported => {
                Some("426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\n")
            }
            Self::PathUnknown { .. } => Some("404 Not Found\r\n"),
            Self::OriginForbidden { .. } => Some("403 Forbidden\r\n"),
            Self::NotHttp
            | Self::PeerSpeaksTls
            | Self::RequestInvalid { .. }
            | Self::Refused { .. }
            | Self::ResponseInvalid
            | Self::MaskWrong
            | Self::ExtensionUnknown
            | Self::OpcodeUnknown { .. }
            | Self::TextReceived
            | Self::FragmentMisplaced
            | Self::ControlInvalid
            | Self::LengthNotShortest
            | Self::FrameTooLong { .. }
            | Self::CloseInvalid
            | Self::ControlFlood => None,
        }
    }
}
