//! From a URL to an opener: what lies between the socket and MQTT.

#[cfg(feature = "tls")]
use std::sync::Arc;
use std::{boxed::Box, path::PathBuf, vec::Vec};

use mqttstack_transport::{ConnectOptions, Endpoint, Stream, TransportError, connect};
#[cfg(feature = "tls")]
use mqttstack_transport::{TlsClient, TlsClientOptions, rustls};
#[cfg(feature = "websocket")]
use mqttstack_transport::{WebSocketClient, WebSocketClientOptions};

#[cfg(feature = "tunnel")]
use super::proxy::Proxy;
use super::{builder::BuilderError, opening::Opener, url::Way};

/// What a builder was told about the layers over the socket.
#[derive(Default)]
pub(super) struct Layers {
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsSettings>,
    #[cfg(feature = "tls")]
    pub(super) server_name: Option<Box<str>>,
    #[cfg(feature = "websocket")]
    pub(super) headers: Vec<(Box<str>, Box<str>)>,
    #[cfg(feature = "tunnel")]
    pub(super) proxy: Option<Proxy>,
    /// Old servers know the subprotocol of WebSockets by another name.
    pub(super) is_v31: bool,
}

/// How TLS is set up: by us, or by the caller.
#[cfg(feature = "tls")]
pub(super) enum TlsSettings {
    Options(TlsClientOptions),
    Config(Arc<rustls::ClientConfig>),
}

/// Puts a layer over a stream.
type Layer = Box<dyn Fn(Box<dyn Stream>) -> Result<Box<dyn Stream>, TransportError> + Send + Sync>;

impl Layers {
    /// Makes what opens transports along `way`.
    ///
    /// # Errors
    ///
    /// The way needs a feature that this build does not have, or the settings make no layer.
    pub(super) fn opener(self, way: Way, options: ConnectOptions) -> Result<Opener, BuilderError> {
        let (endpoint, has_tls, websocket) = match way {
            Way::Unix(path) => return self.unix(path),
            Way::Network {
                endpoint,
                has_tls,
                websocket,
            } => (endpoint, has_tls, websocket),
        };
        if self.is_tls_set() && !has_tls {
            return Err(BuilderError::TlsNotUsed);
        }
        let mut layers = Vec::new();
        let first = self.tunnel(&endpoint, &mut layers);
        if has_tls {
            layers.push(self.tls(&endpoint, websocket.is_some())?);
        }
        if let Some(path) = websocket {
            layers.push(self.websocket(&endpoint, &path, has_tls)?);
        }
        Ok(Opener::new(move || {
            let stream: Box<dyn Stream> = Box::new(connect(&first, &options)?);
            layers
                .iter()
                .try_fold(stream, |stream, layer| layer(stream))
        }))
    }

    const fn is_tls_set(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some() || self.server_name.is_some();
        #[cfg(not(feature = "tls"))]
        return false;
    }

    #[cfg(all(unix, feature = "unix"))]
    fn unix(&self, path: PathBuf) -> Result<Opener, BuilderError> {
        if self.is_tls_set() {
            return Err(BuilderError::TlsNotUsed);
        }
        Ok(Opener::new(move || {
            Ok(Box::new(mqttstack_transport::UnixStream::connect(&path)?))
        }))
    }

    #[cfg(not(all(unix, feature = "unix")))]
    fn unix(&self, _: PathBuf) -> Result<Opener, BuilderError> {
        Err(missing("unix"))
    }

    /// Puts the layer of a proxy on, if there is one; returns where the socket leads to.
    #[cfg(feature = "tunnel")]
    fn tunnel(&self, server: &Endpoint, layers: &mut Vec<Layer>) -> Endpoint {
        let Some(Proxy { endpoint, client }) = self.proxy.clone() else {
            return server.clone();
        };
        let server = server.clone();
        layers.push(Box::new(move |stream| {
            Ok(Box::new(client.connect(stream, &server)))
        }));
        endpoint
    }

    #[cfg(not(feature = "tunnel"))]
    fn tunnel(&self, server: &Endpoint, _: &mut Vec<Layer>) -> Endpoint {
        server.clone()
    }

    #[cfg(feature = "tls")]
    fn tls(&self, endpoint: &Endpoint, is_websocket: bool) -> Result<Layer, BuilderError> {
        let client = match &self.tls {
            Some(TlsSettings::Config(config)) => TlsClient::from_config(Arc::clone(config)),
            Some(TlsSettings::Options(options)) => load(options.clone(), is_websocket)?,
            None => load(TlsClientOptions::default(), is_websocket)?,
        };
        let name = self.server_name.clone();
        let name = name.unwrap_or_else(|| endpoint.host().into());
        Ok(Box::new(move |stream| {
            Ok(Box::new(client.connect(stream, &name)?))
        }))
    }

    #[cfg(not(feature = "tls"))]
    fn tls(&self, _: &Endpoint, _: bool) -> Result<Layer, BuilderError> {
        Err(missing("tls"))
    }

    #[cfg(feature = "websocket")]
    fn websocket(
        &self,
        endpoint: &Endpoint,
        path: &str,
        has_tls: bool,
    ) -> Result<Layer, BuilderError> {
        let usual_port = if has_tls { 443 } else { 80 };
        let host = std::format!("{endpoint}");
        let without_port = host.strip_suffix(&std::format!(":{usual_port}"));
        let mut options = WebSocketClientOptions::new(without_port.unwrap_or(&host));
        options.path = path.into();
        options.headers.clone_from(&self.headers);
        options.offers_v31 = self.is_v31;
        let client = WebSocketClient::new(options)?;
        Ok(Box::new(move |stream| Ok(Box::new(client.connect(stream)))))
    }

    #[cfg(not(feature = "websocket"))]
    fn websocket(&self, _: &Endpoint, _: &str, _: bool) -> Result<Layer, BuilderError> {
        Err(missing("websocket"))
    }
}

/// Reads the files of the options. A WebSocket is HTTP to a port that serves several protocols.
#[cfg(feature = "tls")]
fn load(mut options: TlsClientOptions, is_websocket: bool) -> Result<TlsClient, BuilderError> {
    if is_websocket && options.protocols.is_empty() {
        options.protocols.push("http/1.1".into());
    }
    Ok(TlsClient::load(&options)?)
}

#[cfg(not(all(unix, feature = "unix", feature = "tls", feature = "websocket")))]
const fn missing(feature: &'static str) -> BuilderError {
    BuilderError::FeatureMissing { feature }
}
