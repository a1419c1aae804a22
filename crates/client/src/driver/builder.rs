//! How a client is made.

use core::time::Duration;
use std::{
    boxed::Box,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    string::String,
    sync::Arc,
    thread,
};

use bytes::Bytes;
use mqttstack_codec::{
    Auth, Properties, ProtocolVersion, Shared as SharedStorage, Utf8Bytes, Will,
};
use mqttstack_limits::Limits;
use mqttstack_session::client::LostSession;
use mqttstack_transport::{ConnectOptions, TransportError};

#[cfg(feature = "tls")]
use super::layers::TlsSettings;
#[cfg(feature = "tunnel")]
use super::proxy::Proxy;
use super::{
    client::Client,
    error::ConnectError,
    inbox::Inbox,
    layers::Layers,
    opening::Opener,
    runner::{ConnectionEvent, Driver},
    shared::Shared,
    url::{ServerUrl, UrlError},
};
use crate::core::{CleanStart, ClientCore, ReconnectPolicy, Resubscribe, Settings, SettingsError};

/// Who acknowledges received QoS 1 and 2 messages.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Acknowledgement {
    /// A message is acknowledged when the application takes it out of the inbox.
    #[default]
    OnReceive,
    /// The application calls [`Received::acknowledge`](super::Received::acknowledge).
    Manual,
}

/// How much waits in the inbox before the client stops reading from its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InboxLimits {
    /// How many messages. Default 2,048, which leaves room for QoS 0 beside a full Receive
    /// Maximum.
    pub messages_max: usize,
    /// How many bytes of topics, properties and payloads. Default 64 MiB. One message of any size
    /// is taken.
    pub bytes_max: usize,
}

impl Default for InboxLimits {
    fn default() -> Self {
        Self {
            messages_max: 2_048,
            bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// Why a client cannot be made.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BuilderError {
    /// The URL is not that of a server.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The URL needs a feature of this crate that is not there.
    #[error("this build cannot reach such a server: it lacks the feature `{feature}`")]
    FeatureMissing {
        /// The name of the feature.
        feature: &'static str,
    },
    /// TLS was set up for a server that is reached without.
    #[error("TLS is set up, but the URL is not one of mqtts:// or wss://")]
    TlsNotUsed,
    /// TLS cannot be set up.
    #[cfg(feature = "tls")]
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] mqttstack_transport::TlsConfigError),
    /// No WebSocket can be asked for in this way.
    #[cfg(feature = "websocket")]
    #[error("no WebSocket can be asked for: {0}")]
    WebSocket(#[from] mqttstack_transport::WebSocketError),
    /// The proxy's URL is not that of a proxy.
    #[cfg(feature = "tunnel")]
    #[error(transparent)]
    Proxy(#[from] super::proxy::ProxyUrlError),
    /// No connection can be asked for with these settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The system has no resources for it.
    #[error(transparent)]
    System(#[from] TransportError),
    /// The first attempt to connect failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl From<io::Error> for BuilderError {
    fn from(error: io::Error) -> Self {
        Self::System(error.into())
    }
}

pub(super) type EventHandler = Box<dyn FnMut(&ConnectionEvent) + Send>;
pub(super) type AuthHandler =
    Box<dyn FnMut(&Auth<SharedStorage>) -> Option<Auth<SharedStorage>> + Send>;

/// Makes a client.
///
/// Ends in one of [`connect`](Self::connect), which waits for the first connection,
/// [`spawn`](Self::spawn), which does not, and [`build`](Self::build) for those who drive the
/// client in a loop of their own.
#[must_use = "a builder makes a client only in the end"]
pub struct Builder {
    url: String,
    settings: Settings,
    username: Option<String>,
    password: Option<Bytes>,
    inbox: InboxLimits,
    acknowledgement: Acknowledgement,
    transport: ConnectOptions,
    layers: Layers,
    #[cfg(feature = "tunnel")]
    proxy: Option<String>,
    opener: Option<Opener>,
    response_prefix: String,
    on_event: Option<EventHandler>,
    on_auth: Option<AuthHandler>,
}

impl Builder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.into(),
            settings: Settings::new(""),
            username: None,
            password: None,
            inbox: InboxLimits::default(),
            acknowledgement: Acknowledgement::default(),
            transport: ConnectOptions::default(),
            layers: Layers::default(),
            #[cfg(feature = "tunnel")]
            proxy: None,
            opener: None,
            response_prefix: "responses".into(),
            on_event: None,
            on_auth: None,
        }
    }

    /// Sets the protocol version; 5.0 if not set.
    pub fn version(mut self, version: ProtocolVersion) -> Self {
        self.settings.version = version;
        self
    }

    /// Sets the Client Identifier; if not set, the server chooses one.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.settings.client_id = client_id.into();
        self
    }

    /// Says whether connections begin with an empty session; all of them do if not set.
    pub fn clean_start(mut self, clean_start: CleanStart) -> Self {
        self.settings.clean_start = clean_start;
        self
    }

    /// Sets for how many seconds the server keeps the session after a connection (5.0 only).
    pub fn session_expiry(mut self, seconds: u32) -> Self {
        self.settings.session_expiry = Some(seconds);
        self
    }

    /// Sets the Keep Alive in seconds; 60 if not set, 0 is off.
    pub fn keep_alive(mut self, seconds: u16) -> Self {
        self.settings.keep_alive = seconds;
        self
    }

    /// Sets how long, while a PINGRESP is awaited, no byte may move in either direction before the
    /// connection is given up; 10 s if not set. A slow transfer is not a silent server.
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.settings.ping_timeout = timeout;
        self
    }

    /// Sets the User Name, before the one in the URL.
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// Sets the Password, before the one in the URL.
    pub fn password(mut self, password: impl Into<Bytes>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sets the message that the server publishes when the connection is lost. Content and other
    /// properties are those of the message; `delay` is the Will Delay Interval in seconds (5.0).
    pub fn will(mut self, message: &mqttstack_session::Message, delay: u32) -> Self {
        let mut properties = Properties::builder();
        if delay > 0 {
            properties = properties.will_delay_interval(delay);
        }
        let properties = properties.properties(message.properties().iter()).build();
        self.settings.will = Some(Will {
            qos: message.qos(),
            retain: message.retain(),
            // The properties of a message were valid when it was built.
            properties: properties.unwrap_or_default(),
            topic: Utf8Bytes::from(message.topic()),
            payload: message.payload_bytes(),
        });
        self
    }

    /// Sets further properties of CONNECT: User Properties, the Authentication Method, and so on.
    pub fn connect_properties(mut self, properties: Properties<SharedStorage>) -> Self {
        self.settings.properties = properties;
        self
    }

    /// Answers the steps of an authentication exchange; `None` ends the connection.
    pub fn on_auth(
        mut self,
        answer: impl FnMut(&Auth<SharedStorage>) -> Option<Auth<SharedStorage>> + Send + 'static,
    ) -> Self {
        self.on_auth = Some(Box::new(answer));
        self
    }

    /// Says to a 3.x server that this client is a bridge, unless it refuses that.
    pub fn bridge(mut self, is_bridge: bool) -> Self {
        self.settings.bridge = is_bridge;
        self
    }

    /// Sets what the server may send, and how much may wait.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = Arc::new(limits);
        self
    }

    /// Sets how much waits in the inbox.
    pub fn inbox(mut self, limits: InboxLimits) -> Self {
        self.inbox = limits;
        self
    }

    /// Sets when a lost connection is tried again.
    pub fn reconnect(mut self, policy: ReconnectPolicy) -> Self {
        self.settings.reconnect = policy;
        self
    }

    /// Sets what happens to subscriptions when a connection comes back.
    pub fn resubscribe(mut self, resubscribe: Resubscribe) -> Self {
        self.settings.resubscribe = resubscribe;
        self
    }

    /// Sets what becomes of unfinished messages when the server has lost the session.
    pub fn lost_session(mut self, lost_session: LostSession) -> Self {
        self.settings.lost_session = lost_session;
        self
    }

    /// Sets who acknowledges received messages.
    pub fn acknowledgement(mut self, acknowledgement: Acknowledgement) -> Self {
        self.acknowledgement = acknowledgement;
        self
    }

    /// Sets the options of the TCP connection. The timeout in them does not count; that of the
    /// limits does.
    pub fn transport(mut self, options: ConnectOptions) -> Self {
        self.transport = options;
        self
    }

    /// Sets whom to trust, and what to show, over TLS: in `mqtts://` and `wss://` URLs. If not set,
    /// those are trusted whom the features `platform-roots` or `webpki-roots` provide.
    ///
    /// A `wss://` URL offers `http/1.1` for ALPN unless there are other protocols in the options; an
    /// `mqtts://` URL offers what the options say, by default nothing.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, options: mqttstack_transport::TlsClientOptions) -> Self {
        self.layers.tls = Some(TlsSettings::Options(options));
        self
    }

    /// Sets a configuration of rustls for TLS, which is taken as it is.
    #[cfg(feature = "tls")]
    pub fn tls_config(mut self, config: Arc<mqttstack_transport::rustls::ClientConfig>) -> Self {
        self.layers.tls = Some(TlsSettings::Config(config));
        self
    }

    /// Sets the name that the server's certificate has to bear, and that is asked for (SNI), in
    /// place of the host in the URL.
    #[cfg(feature = "tls")]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.layers.server_name = Some(name.into().into());
        self
    }

    /// Adds a header to the request for a WebSocket, such as a token that a gateway demands.
    #[cfg(feature = "websocket")]
    pub fn websocket_header(mut self, name: &str, value: &str) -> Self {
        self.layers.headers.push((name.into(), value.into()));
        self
    }

    /// Connects through a proxy: `http://[user:password@]host[:port]` (port 80; the CONNECT method)
    /// or `socks5://[user:password@]host[:port]` (port 1080). The proxy resolves the server's name.
    /// The password travels as it is: trust the way to the proxy. Unix domain sockets need no proxy
    /// and use none.
    #[cfg(feature = "tunnel")]
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// Opens the transport in a way of your own; the URL then only holds credentials.
    pub fn opener(mut self, opener: Opener) -> Self {
        self.opener = Some(opener);
        self
    }

    /// Sets where responses to requests go: to this, a slash, and the Client Identifier.
    /// `responses` if not set; what the server says in Response Information comes first.
    pub fn response_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.response_prefix = prefix.into();
        self
    }

    /// Tells of connections that come and go. The function is called on the thread that drives the
    /// client, which waits for it.
    pub fn on_event(mut self, handler: impl FnMut(&ConnectionEvent) + Send + 'static) -> Self {
        self.on_event = Some(Box::new(handler));
        self
    }

    /// Makes the client; it does nothing until the driver is run.
    ///
    /// # Errors
    ///
    /// [`BuilderError`].
    pub fn build(self) -> Result<(Client, Inbox, Driver), BuilderError> {
        let url: ServerUrl = self.url.parse()?;
        let mut settings = self.settings;
        settings.username = self.username.or(url.username);
        settings.password = self.password.or(url.password.map(Bytes::from));
        let mut layers = self.layers;
        layers.is_v31 = settings.version == ProtocolVersion::V31;
        #[cfg(feature = "tunnel")]
        {
            layers.proxy = self.proxy.as_deref().map(Proxy::parse).transpose()?;
        }
        let opener = match self.opener {
            Some(opener) => opener,
            None => {
                let mut options = self.transport;
                options.timeout = settings.limits.connect_timeout;
                layers.opener(url.way, options)?
            }
        };
        let has_responses = settings.version == ProtocolVersion::V5;
        let client_id = settings.client_id.clone();
        let core = ClientCore::new(settings, random_seed())?;
        let acknowledges = self.acknowledgement == Acknowledgement::OnReceive;
        let (driver, waker, clock) = Driver::prepare(core, opener, self.on_event, self.on_auth)?;
        let shared = Arc::new(Shared::new(
            waker,
            clock,
            self.inbox,
            acknowledges,
            has_responses,
            self.response_prefix,
        ));
        {
            let mut state = shared.lock();
            state.status.client_id = client_id;
            state.last_correlation = random_seed();
        }
        let client = Client::new(Arc::clone(&shared));
        let inbox = Inbox {
            shared: Arc::clone(&shared),
        };
        Ok((client, inbox, driver.into_driver(shared)))
    }

    /// Makes the client and runs it on a thread of its own.
    ///
    /// # Errors
    ///
    /// [`BuilderError`].
    pub fn spawn(self) -> Result<(Client, Inbox), BuilderError> {
        let (client, inbox, mut driver) = self.build()?;
        thread::Builder::new()
            .name("mqtt-client".into())
            .spawn(move || driver.run())?;
        Ok((client, inbox))
    }

    /// Makes the client, runs it on a thread of its own, and waits for the first connection. If the
    /// first attempt fails, the client ends; afterwards the reconnect policy holds.
    ///
    /// # Errors
    ///
    /// [`BuilderError`], in particular [`BuilderError::Connect`].
    pub fn connect(self) -> Result<(Client, Inbox), BuilderError> {
        // The socket, the layers over it, and CONNACK each have this time at most.
        let timeout = self.settings.limits.connect_timeout.saturating_mul(3);
        let (client, inbox) = self.spawn()?;
        client.wait_first_attempt(timeout)?;
        Ok((client, inbox))
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither the URL nor the settings: they hold the password.
        f.debug_struct("Builder")
            .field("client_id", &self.settings.client_id)
            .finish_non_exhaustive()
    }
}

/// Returns a number that differs between clients; the standard library's maps are keyed by such.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
