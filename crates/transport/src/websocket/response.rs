//! The client's side of the opening: the request, and whether the answer follows from it.

use std::sync::Arc;

use tungstenite::{
    handshake::{
        client::{Request, Response, generate_key, generate_request},
        derive_accept_key,
        machine::TryParse as _,
    },
    http::{HeaderName, HeaderValue, StatusCode, header},
};

use super::{
    MQTT, MQTT_V31, WebSocketError, WebSocketFacts, WebSocketServerOptions, WebSocketStream,
    opening::has_token,
};
use crate::Stream;

/// What a client asks a server for.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebSocketClientOptions {
    /// The server's name, with its port where that is not the usual one.
    pub host: Box<str>,
    /// The path, and the query if there is one. Default: `/mqtt`.
    pub path: Box<str>,
    /// Further headers, such as tokens that a gateway demands.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Offers the subprotocol of MQTT 3.1 after the usual one. Default: `false`.
    pub offers_v31: bool,
    /// How long the server's answer may be, in bytes. Default: 8192.
    pub response_bytes_max: usize,
    /// How much one frame may carry, in bytes. Default: the longest packet of MQTT.
    pub frame_bytes_max: u64,
}

impl WebSocketClientOptions {
    /// Asks the server called `host` for its usual path.
    #[must_use]
    pub fn new(host: &str) -> Self {
        Self {
            host: host.into(),
            path: "/mqtt".into(),
            headers: Vec::new(),
            offers_v31: false,
            response_bytes_max: 8192,
            frame_bytes_max: WebSocketServerOptions::LONGEST_PACKET_BYTES,
        }
    }
}

/// The client's end of WebSockets.
#[derive(Clone, Debug)]
pub struct WebSocketClient {
    options: Arc<WebSocketClientOptions>,
    /// The request, without the key that each connection has of its own.
    request: Request,
}

/// What a connection sent, and waits for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) options: Arc<WebSocketClientOptions>,
    pub(super) request: Vec<u8>,
    accept_key: String,
}

impl WebSocketClient {
    /// Creates the layer.
    ///
    /// # Errors
    ///
    /// [`WebSocketError::RequestInvalid`] when host, path or headers cannot stand in a request, or
    /// when a header is one of those that make the WebSocket.
    pub fn new(options: WebSocketClientOptions) -> Result<Self, WebSocketError> {
        let request = request(&options)?;
        // Once for each header that the layer itself is responsible for.
        generate_request(keyed(&request)).map_err(|_| invalid(&options.path))?;
        Ok(Self {
            options: Arc::new(options),
            request,
        })
    }

    /// Puts the layer over a stream; its handshake sends the request.
    pub fn connect<S: Stream>(&self, stream: S) -> WebSocketStream<S> {
        // Cannot fail: the same request went through when the layer was made.
        let (request, key) = generate_request(keyed(&self.request)).unwrap_or_default();
        WebSocketStream::asking(
            stream,
            Asked {
                options: Arc::clone(&self.options),
                request,
                accept_key: derive_accept_key(key.as_bytes()),
            },
        )
    }
}

fn invalid(value: &str) -> WebSocketError {
    WebSocketError::RequestInvalid {
        value: value.into(),
    }
}

fn request(options: &WebSocketClientOptions) -> Result<Request, WebSocketError> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| invalid(text));
    let mut request = Request::new(());
    if !options.path.starts_with('/') {
        return Err(invalid(&options.path));
    }
    *request.uri_mut() = options.path.parse().map_err(|_| invalid(&options.path))?;
    let headers = request.headers_mut();
    for (name, text) in &options.headers {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(name))?;
        let is_ours = [
            header::HOST,
            header::CONNECTION,
            header::UPGRADE,
            header::SEC_WEBSOCKET_VERSION,
            header::SEC_WEBSOCKET_KEY,
            header::SEC_WEBSOCKET_PROTOCOL,
            header::SEC_WEBSOCKET_EXTENSIONS,
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
        ]
        .contains(&key);
        if is_ours {
            return Err(invalid(name));
        }
        headers.append(key, value(text)?);
    }
    headers.insert(header::HOST, value(&options.host)?);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        header::SEC_WEBSOCKET_VERSION,
        HeaderValue::from_static("13"),
    );
    // v5 MQTT-6.0.0-3.
    let offer = if options.offers_v31 {
        "mqtt, mqttv3.1"
    } else {
        MQTT
    };
    headers.insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(offer),
    );
    Ok(request)
}

/// Adds a key that nobody has used.
fn keyed(request: &Request) -> Request {
    let mut request = request.clone();
    if let Ok(key) = HeaderValue::from_str(&generate_key()) {
        request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, key);
    }
    request
}

impl Asked {
    /// Judges the server's answer, and returns what is known of it now.
    pub(super) fn judge(&self, head: &[u8]) -> Result<WebSocketFacts, WebSocketError> {
        let Ok(Some((_, response))) = Response::try_parse(head) else {
            return Err(WebSocketError::NotHttp);
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(WebSocketError::Refused {
                status: response.status().as_u16(),
            });
        }
        let values = |name| {
            response
                .headers()
                .get_all(name)
                .iter()
                .map(HeaderValue::as_bytes)
        };
        let is_upgrade = has_token(values(header::UPGRADE), "websocket")
            && has_token(values(header::CONNECTION), "upgrade");
        let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        let is_ours = accepted.is_some_and(|key| *key == self.accept_key);
        let has_extension = response
            .headers()
            .contains_key(header::SEC_WEBSOCKET_EXTENSIONS);
        if !is_upgrade || !is_ours || has_extension {
            return Err(WebSocketError::ResponseInvalid);
        }
        let chosen = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
        let subprotocol = match chosen.map(HeaderValue::as_bytes) {
            Some(chosen) if chosen == MQTT.as_bytes() => MQTT,
            Some(chosen) if chosen == MQTT_V31.as_bytes() && self.options.offers_v31 => MQTT_V31,
            Some(_) | None => return Err(WebSocketError::SubprotocolMissing),
        };
        Ok(WebSocketFacts {
            path: self.options.path.clone(),
            origin: None,
            subprotocol,
        })
    }
}
