//! Where a broker listens, and what lies over the connections from there.

#[cfg(all(unix, feature = "unix"))]
use std::path::PathBuf;
use std::{fmt, sync::Arc};

use mqttstack_limits::Limits;
#[cfg(feature = "proxy")]
use mqttstack_transport::ProxyServer;
use mqttstack_transport::{
    Endpoint, Layer, LayeredListener, ListenOptions, Listener, PeerAddress, TcpListener,
    TransportError,
};
#[cfg(all(unix, feature = "unix"))]
use mqttstack_transport::{UnixListenOptions, UnixListener};

use super::{StartError, permit::Gate};

/// One address to listen on: what lies over its connections, and what they may use.
///
/// Layers are given from the ground up: a PROXY protocol header comes before TLS, TLS before
/// WebSocket.
///
/// ```
/// use mqttstack_broker::{Broker, ListenerSettings, limits::Limits};
///
/// let sensors = ListenerSettings::tcp("127.0.0.1:0".parse()?)
///     .named("sensors")
///     .limits(Limits { packet_size_max: 4096, ..Limits::default() });
/// let broker = Broker::builder().listener(sensors).start()?;
/// # broker.stop();
/// # broker.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With the feature `tls`:
///
/// ```
/// # #[cfg(feature = "tls")]
/// # fn listen() -> Result<mqttstack_broker::ListenerSettings, Box<dyn std::error::Error>> {
/// use mqttstack_broker::{
///     ListenerSettings,
///     transport::{CertificateFiles, TlsServer, TlsServerOptions},
/// };
///
/// let files = CertificateFiles::new("server.crt", "server.key");
/// let tls = TlsServer::load(TlsServerOptions::new(files))?;
/// // Keep a clone of `tls`: its `reload` puts new files in force.
/// let listener = ListenerSettings::tcp("[::]:8883".parse()?).layer(tls.clone());
/// # Ok(listener)
/// # }
/// ```
pub struct ListenerSettings {
    place: Place,
    name: Option<Box<str>>,
    layers: Vec<Arc<dyn Layer>>,
    #[cfg(feature = "proxy")]
    proxy: Option<ProxyServer>,
    limits: Option<Limits>,
    connections_max: Option<u32>,
}

enum Place {
    Tcp {
        endpoint: Endpoint,
        options: ListenOptions,
    },
    #[cfg(all(unix, feature = "unix"))]
    Unix {
        path: PathBuf,
        options: UnixListenOptions,
    },
    Opened(Box<dyn Listener>),
}

impl ListenerSettings {
    /// Listens on every address of a host; port 0 lets the system choose.
    #[must_use]
    pub fn tcp(endpoint: Endpoint) -> Self {
        Self::tcp_with(endpoint, ListenOptions::default())
    }

    /// Listens as [`tcp`](Self::tcp) does, with other options. A broker of several workers sets
    /// `reuse_port` by itself.
    #[must_use]
    pub fn tcp_with(endpoint: Endpoint, options: ListenOptions) -> Self {
        Self::at(Place::Tcp { endpoint, options })
    }

    /// Listens on a Unix domain socket.
    #[cfg(all(unix, feature = "unix"))]
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>, options: UnixListenOptions) -> Self {
        let path = path.into();
        Self::at(Place::Unix { path, options })
    }

    /// Listens on what is open already: a socket that was inherited, or a transport of yours. Its
    /// connections all belong to the first worker.
    #[must_use]
    pub fn opened(listener: Box<dyn Listener>) -> Self {
        Self::at(Place::Opened(listener))
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            name: None,
            layers: Vec::new(),
            #[cfg(feature = "proxy")]
            proxy: None,
            limits: None,
            connections_max: None,
        }
    }

    /// Names the listener, for the log and for [`Peer::listener`](crate::core::Peer::listener).
    /// Default: its address.
    #[must_use]
    pub fn named(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Puts a layer over each connection, over those that were given before.
    #[must_use]
    pub fn layer(mut self, layer: impl Layer + 'static) -> Self {
        self.layers.push(Arc::new(layer));
        self
    }

    /// Takes the word of proxies for whom they speak; comes before all layers.
    #[cfg(feature = "proxy")]
    #[must_use]
    pub fn proxy(mut self, proxy: ProxyServer) -> Self {
        self.layers.insert(0, Arc::new(proxy.clone()));
        self.proxy = Some(proxy);
        self
    }

    /// Sets what each connection from here may use. Default: what the builder says for all.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Sets how many connections from here may be open at once. For a further one, the one from here
    /// that has waited longest to be accepted gives way; if none waits, it is closed at once.
    /// Default: as many as the broker takes in all.
    #[must_use]
    pub fn connections_max(mut self, maximum: u32) -> Self {
        self.connections_max = Some(maximum);
        self
    }

    /// Opens the listener: for each worker those that it is to run.
    pub(super) fn open(
        self,
        workers: usize,
        limits: &Arc<Limits>,
        all: &Arc<Gate>,
    ) -> Result<Vec<Vec<Opened>>, StartError> {
        let shown = self.place.to_string();
        let of_workers = self.place.open(workers).map_err(|source| {
            let address = shown.clone().into();
            StartError::Listen { address, source }
        })?;
        let terms = Arc::new(Terms {
            name: self.name.unwrap_or_else(|| shown.into()).into(),
            limits: self.limits.map_or_else(|| Arc::clone(limits), Arc::new),
            gate: (self.connections_max).map(|maximum| Gate::within(all, maximum)),
            #[cfg(feature = "proxy")]
            proxy: self.proxy,
        });
        let opened = |listener: Box<dyn Listener>| Opened {
            listener: if self.layers.is_empty() {
                listener
            } else {
                Box::new(LayeredListener::new(listener, self.layers.clone()))
            },
            terms: Arc::clone(&terms),
        };
        let of_worker = |listeners: Vec<_>| listeners.into_iter().map(opened).collect();
        Ok(of_workers.into_iter().map(of_worker).collect())
    }
}

impl Place {
    fn open(self, workers: usize) -> Result<Vec<Vec<Box<dyn Listener>>>, TransportError> {
        let mut of_workers: Vec<Vec<Box<dyn Listener>>> = Vec::new();
        of_workers.resize_with(workers, Vec::new);
        match self {
            Self::Tcp { endpoint, options } => open_tcp(&endpoint, options, &mut of_workers)?,
            #[cfg(all(unix, feature = "unix"))]
            Self::Unix { path, options } => {
                let listener = UnixListener::bind(path, &options)?;
                // The system spreads nothing here: whichever worker is free takes a connection.
                for listeners in &mut of_workers {
                    listeners.push(Box::new(listener.try_clone()?));
                }
            }
            Self::Opened(listener) => {
                if let Some(listeners) = of_workers.first_mut() {
                    listeners.push(listener);
                }
            }
        }
        Ok(of_workers)
    }
}

/// Opens a listener for each address of the endpoint and each worker: the system spreads connections
/// over those that share an address.
fn open_tcp(
    endpoint: &Endpoint,
    mut options: ListenOptions,
    of_workers: &mut [Vec<Box<dyn Listener>>],
) -> Result<(), TransportError> {
    options.reuse_port |= of_workers.len() > 1;
    let Some((of_first, of_others)) = of_workers.split_first_mut() else {
        return Ok(());
    };
    for listener in TcpListener::bind_all(endpoint, &options)? {
        if let Some(address) = listener.local_address().socket_address() {
            for listeners in &mut *of_others {
                listeners.push(Box::new(TcpListener::bind(address, &options)?));
            }
        }
        of_first.push(Box::new(listener));
    }
    Ok(())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { endpoint, .. } => endpoint.fmt(f),
            #[cfg(all(unix, feature = "unix"))]
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Opened(listener) => listener.local_address().fmt(f),
        }
    }
}

impl fmt::Debug for ListenerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerSettings")
            .field("place", &self.place.to_string())
            .field("name", &self.name)
            .field("layers", &self.layers.len())
            .field("limits", &self.limits)
            .field("connections_max", &self.connections_max)
            .finish_non_exhaustive()
    }
}

/// A listener that is open, and the terms of its connections.
pub(super) struct Opened {
    pub(super) listener: Box<dyn Listener>,
    pub(super) terms: Arc<Terms>,
}

/// What holds for all connections of a listener.
pub(super) struct Terms {
    pub(super) name: Arc<str>,
    pub(super) limits: Arc<Limits>,
    /// How many may be open at once, if that is less than everywhere; leads through the gate of all.
    pub(super) gate: Option<Arc<Gate>>,
    #[cfg(feature = "proxy")]
    proxy: Option<ProxyServer>,
}

impl Terms {
    /// Returns the terms of connections of the program itself.
    pub(super) fn of_local(limits: Arc<Limits>) -> Arc<Self> {
        Arc::new(Self {
            name: "local".into(),
            limits,
            gate: None,
            #[cfg(feature = "proxy")]
            proxy: None,
        })
    }

    /// Returns whether a peer at this address speaks for others, whom it has yet to name.
    #[cfg(feature = "proxy")]
    pub(super) fn is_proxy(&self, address: &PeerAddress) -> bool {
        self.proxy
            .as_ref()
            .is_some_and(|proxy| proxy.trusts(address))
    }

    /// Returns whether a peer at this address speaks for others: none does.
    #[cfg(not(feature = "proxy"))]
    #[expect(clippy::unused_self, reason = "as its twin, which asks the settings")]
    pub(super) const fn is_proxy(&self, _: &PeerAddress) -> bool {
        false
    }
}
