//! The server's side of the opening: which requests become a WebSocket.

use std::sync::Arc;

use tungstenite::{
    Error,
    error::ProtocolError,
    handshake::{
        machine::TryParse as _,
        server::{Request, create_response, write_response},
    },
    http::{HeaderValue, header},
};

use super::{MQTT, MQTT_V31, WebSocketError, WebSocketFacts, WebSocketStream, opening::has_token};
use crate::{Layer, Stream};

/// Which requests a server takes, and what it takes from then on.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebSocketServerOptions {
    /// The paths served, without query. Default: none, which stands for all of them: X311-6-a.
    pub paths: Vec<Box<str>>,
    /// The origins of the web pages that may connect, such as `https://example.com`, compared
    /// without regard to case. Default: `None`, all of them. Clients that name no origin are not web
    /// pages, and may always connect.
    pub origins: Option<Vec<Box<str>>>,
    /// How long a request may be, in bytes; a longer one is answered with status 431. Default: 8192.
    pub request_bytes_max: usize,
    /// How much one frame may carry, in bytes; a longer one ends the connection with code 1009.
    /// Frames are never held in memory as a whole, so this bounds no memory. Default: the longest
    /// packet of MQTT.
    pub frame_bytes_max: u64,
}

impl WebSocketServerOptions {
    /// The size of the longest packet of MQTT, header included.
    pub(super) const LONGEST_PACKET_BYTES: u64 = 268_435_455 + 5;
}

impl Default for WebSocketServerOptions {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            origins: None,
            request_bytes_max: 8192,
            frame_bytes_max: Self::LONGEST_PACKET_BYTES,
        }
    }
}

/// The server's end of WebSockets: a [`Layer`] over accepted streams.
#[derive(Clone, Debug, Default)]
pub struct WebSocketServer {
    options: Arc<WebSocketServerOptions>,
}

impl WebSocketServer {
    /// Creates the layer.
    #[must_use]
    pub fn new(options: WebSocketServerOptions) -> Self {
        Self {
            options: Arc::new(options),
        }
    }

    /// Puts the layer over one stream; its handshake waits for the client's request.
    pub fn accept<S: Stream>(&self, stream: S) -> WebSocketStream<S> {
        WebSocketStream::accepting(stream, Arc::clone(&self.options))
    }
}

impl Layer for WebSocketServer {
    fn wrap(&self, stream: Box<dyn Stream>) -> Box<dyn Stream> {
        Box::new(self.accept(stream))
    }
}

/// Judges a request; returns the response and what is known of the client now.
pub(super) fn answer(
    head: &[u8],
    options: &WebSocketServerOptions,
) -> Result<(Vec<u8>, WebSocketFacts), WebSocketError> {
    let request = match Request::try_parse(head) {
        Ok(Some((_, request))) => request,
        Err(Error::Protocol(ProtocolError::WrongHttpMethod | ProtocolError::WrongHttpVersion)) => {
            return Err(WebSocketError::NotAnUpgrade);
        }
        Ok(None) | Err(_) => return Err(WebSocketError::NotHttp),
    };
    let path = request.uri().path();
    if !options.paths.is_empty() && !options.paths.iter().any(|served| **served == *path) {
        return Err(WebSocketError::PathUnknown { path: path.into() });
    }
    let mut response = match create_response(&request) {
        Ok(response) => response,
        Err(Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader)) => {
            return Err(WebSocketError::VersionUnsupported);
        }
        Err(_) => return Err(WebSocketError::NotAnUpgrade),
    };
    let origin = request.headers().get(header::ORIGIN);
    let origin = origin.map(|origin| Box::<str>::from(String::from_utf8_lossy(origin.as_bytes())));
    if let (Some(allowed), Some(origin)) = (&options.origins, &origin)
        && !allowed
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(origin))
    {
        return Err(WebSocketError::OriginForbidden {
            origin: origin.clone(),
        });
    }
    let offered = || {
        let values = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
        values.iter().map(HeaderValue::as_bytes)
    };
    // v5 MQTT-6.0.0-4; and what clients of 3.1 offer by custom is echoed: V31-ws.
    let subprotocol = [MQTT, MQTT_V31]
        .into_iter()
        .find(|subprotocol| has_token(offered(), subprotocol))
        .ok_or(WebSocketError::SubprotocolMissing)?;
    response.headers_mut().insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(subprotocol),
    );
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response).map_err(|_| WebSocketError::NotAnUpgrade)?;
    let path = request
        .uri()
        .path_and_query()
        .map_or(path, |both| both.as_str());
    let facts = WebSocketFacts {
        path: path.into(),
        origin,
        subprotocol,
    };
    Ok((bytes, facts))
}

/// Returns the response that tells a client what is wrong with its request.
pub(super) fn refuse(error: &WebSocketError) -> Option<Vec<u8>> {
    let status = error.refusal()?;
    let reason = format!("{error}\n");
    let len = reason.len();
    Some(
        format!(
            "HTTP/1.1 {status}Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Length: {len}\r\n\r\n{reason}"
        )
        .into_bytes(),
    )
}
