//! The broker over sockets: worker threads that each run a core.

mod clock;
mod link;
mod listener;
mod log;
mod mail;
mod peer;
mod permit;
mod resolver;
mod waiting;
mod worker;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    io,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use mqttstack_limits::{BrokerLimits, Limits};
use mqttstack_session::Message;
use mqttstack_transport::{
    Endpoint, PeerAddress, Poller, TransportError, Waker,
    local::{LocalDialer, LocalListener, LocalStream},
};

use self::{
    clock::Clock,
    listener::{Opened, Terms},
    permit::{Gate, PendingByAddress},
    waiting::WaitingRoom,
    worker::{Parts, Worker},
};
pub use self::{listener::ListenerSettings, resolver::Resolver};
use crate::core::{Access, AllowAll, Core, Directory, Metrics, Settings, WorkerId};

/// Why a broker did not start.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No address was given to listen on.
    #[error("no listener: name at least one address to listen on")]
    NoListener,
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: Box<str>,
        /// Why not.
        source: TransportError,
    },
    /// The system is short of something.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] io::Error),
}

/// A broker that runs.
///
/// ```
/// use mqttstack_broker::Broker;
///
/// let broker = Broker::builder().listen("127.0.0.1:0".parse()?).start()?;
/// println!("listening on {}", broker.local_addresses()[0]);
/// broker.stop();
/// broker.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Broker {
    local_addresses: Vec<PeerAddress>,
    listener_names: Vec<Arc<str>>,
    stop: Arc<AtomicBool>,
    wakers: Vec<Waker>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    directory: Directory,
    /// How the program itself reaches each worker.
    dialers: Vec<LocalDialer>,
    next_worker: AtomicUsize,
}

impl Broker {
    /// Starts to describe a broker.
    #[must_use]
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Returns where it listens, with the ports that the system chose.
    #[must_use]
    pub fn local_addresses(&self) -> &[PeerAddress] {
        &self.local_addresses
    }

    /// Returns the name of the listener at each of the [`local_addresses`](Self::local_addresses).
    pub fn listener_names(&self) -> impl Iterator<Item = &str> {
        self.listener_names.iter().map(|name| &**name)
    }

    /// Returns the counts of sessions, subscriptions and retained messages.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Returns how the broker does: what it holds now, and what it has counted since it started.
    ///
    /// ```
    /// # let broker = mqttstack_broker::Broker::builder().local_only().start()?;
    /// for (name, value) in broker.metrics().iter() {
    ///     println!("{name} {value}");
    /// }
    /// # broker.stop();
    /// # broker.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.directory.metrics()
    }

    /// Opens a connection from this program, without a socket: a stream of bytes that carries MQTT.
    /// The workers take turns.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` if the broker has stopped, or does not keep up with accepting.
    pub fn connect_local(&self) -> io::Result<LocalStream> {
        let turn = self.next_worker.fetch_add(1, Ordering::Relaxed);
        let dialer = turn
            .checked_rem(self.dialers.len())
            .and_then(|index| self.dialers.get(index));
        match dialer {
            Some(dialer) => dialer.dial(),
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Returns a handle that stops the broker from anywhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper {
            stop: Arc::clone(&self.stop),
            wakers: self.wakers.clone(),
        }
    }

    /// Tells the broker to stop: it accepts no more connections, and ends those that are open.
    /// MQTT 5.0 clients see DISCONNECT 0x8B. Returns at once.
    pub fn stop(&self) {
        self.stopper().stop();
    }

    /// Waits until the broker has stopped.
    ///
    /// # Errors
    ///
    /// What ended a worker that was not told to stop.
    pub fn wait(mut self) -> io::Result<()> {
        let mut result = Ok(());
        for thread in std::mem::take(&mut self.threads) {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a worker panicked")));
            if result.is_ok() {
                result = ended;
            }
            // One worker does not go on without the others.
            self.stop();
        }
        result
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("local_addresses", &self.local_addresses)
            .field("workers", &self.wakers.len())
            .finish_non_exhaustive()
    }
}

/// Stops a broker; may be cloned and sent to other threads.
#[derive(Clone, Debug)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    wakers: Vec<Waker>,
}

impl Stopper {
    /// Tells the broker to stop. Harmless when repeated.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        for waker in &self.wakers {
            // A worker that cannot be woken has stopped.
            let _ = waker.wake();
        }
    }
}

/// Makes the [`Access`] of a worker.
type AccessFactory = dyn Fn(&Resolver) -> Box<dyn Access>;

/// Describes a broker.
pub struct BrokerBuilder {
    listeners: Vec<ListenerSettings>,
    limits: Limits,
    broker_limits: BrokerLimits,
    access: Box<AccessFactory>,
    is_local_only: bool,
    status_interval: Duration,
    accept_bridges: bool,
    workers: u8,
}

impl Default for BrokerBuilder {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            limits: Limits::default(),
            broker_limits: BrokerLimits::default(),
            access: Box::new(|_| Box::new(AllowAll)),
            is_local_only: false,
            status_interval: Duration::from_secs(10),
            accept_bridges: false,
            workers: one_for_each_processor(),
        }
    }
}

impl BrokerBuilder {
    /// Adds an address to listen on; port 0 lets the system choose.
    #[must_use]
    pub fn listen(self, endpoint: Endpoint) -> Self {
        self.listener(ListenerSettings::tcp(endpoint))
    }

    /// Adds a listener with settings of its own.
    #[must_use]
    pub fn listener(mut self, listener: ListenerSettings) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Sets what each connection may use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets what all clients together may use.
    #[must_use]
    pub fn broker_limits(mut self, limits: BrokerLimits) -> Self {
        self.broker_limits = limits;
        self
    }

    /// Sets who may do what; called once for each worker. Without it, everybody may do everything.
    #[must_use]
    pub fn access(self, access: impl Fn() -> Box<dyn Access> + 'static) -> Self {
        self.access_with(move |_| access())
    }

    /// Sets who may do what, for an [`Access`] that answers some questions later: through the
    /// [`Resolver`], from any thread. Called once for each worker.
    ///
    /// ```
    /// use std::{sync::mpsc, thread};
    ///
    /// use mqttstack_broker::{
    ///     Broker,
    ///     core::{Access, Authorization, PublishRequest, Ticket},
    /// };
    ///
    /// /// Asks a thread that may take its time.
    /// struct AskElsewhere(mpsc::Sender<(Ticket, String)>);
    ///
    /// impl Access for AskElsewhere {
    ///     fn authorize_publish(&mut self, request: &PublishRequest<'_>) -> Authorization {
    ///         let question = (request.ticket, request.message.topic().to_owned());
    ///         match self.0.send(question) {
    ///             Ok(()) => Authorization::Deferred,
    ///             Err(_) => Authorization::of(false),
    ///         }
    ///     }
    /// }
    ///
    /// let broker = Broker::builder()
    ///     .local_only()
    ///     .access_with(|resolver| {
    ///         let (sender, questions) = mpsc::channel::<(Ticket, String)>();
    ///         let resolver = resolver.clone();
    ///         thread::spawn(move || {
    ///             for (ticket, topic) in questions {
    ///                 // A query to a database, say.
    ///                 let is_public = topic.starts_with("public/");
    ///                 resolver.resolve(ticket, Authorization::of(is_public));
    ///             }
    ///         });
    ///         Box::new(AskElsewhere(sender))
    ///     })
    ///     .start()?;
    /// # broker.stop();
    /// # broker.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn access_with(mut self, access: impl Fn(&Resolver) -> Box<dyn Access> + 'static) -> Self {
        self.access = Box::new(access);
        self
    }

    /// Lets the broker start without a listener: its clients are in this program, and use
    /// [`Broker::connect_local`], which works beside listeners as well.
    #[must_use]
    pub fn local_only(mut self) -> Self {
        self.is_local_only = true;
        self
    }

    /// Sets whether 3.x clients may say that they are bridges. Default: no.
    #[must_use]
    pub fn accept_bridges(mut self, accept: bool) -> Self {
        self.accept_bridges = accept;
        self
    }

    /// Sets how often the state of the broker is published below `$SYS/broker`: what has changed, as
    /// retained messages. Default 10 s; zero is never.
    #[must_use]
    pub fn status_interval(mut self, interval: Duration) -> Self {
        self.status_interval = interval;
        self
    }

    /// Sets the number of worker threads, 1 to 255. Default: one for each processor that the process
    /// may use.
    #[must_use]
    pub fn workers(mut self, workers: u8) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Starts the broker: when this returns, it listens.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running.
    pub fn start(mut self) -> Result<Broker, StartError> {
        if self.listeners.is_empty() && !self.is_local_only {
            return Err(StartError::NoListener);
        }
        let random = RandomState::new();
        let directory = Directory::new(random.hash_one("directory"));
        let clock = Clock::start();
        let stop = Arc::new(AtomicBool::new(false));
        let gate = Gate::new(self.broker_limits.connections_max);
        let pending = PendingByAddress::new(self.broker_limits.pending_connections_per_address_max);
        let waiting_room =
            WaitingRoom::new(self.broker_limits.pending_connections_max, self.workers);
        let mut listeners = self.open(&gate)?;
        let of_first = || listeners.first().into_iter().flatten();
        let local_addresses = of_first()
            .map(|opened| opened.listener.local_address().clone())
            .collect();
        let listener_names = of_first()
            .map(|opened| Arc::clone(&opened.terms.name))
            .collect();
        let mut peers = Vec::new();
        let mut wakers = Vec::new();
        let mut ways = Vec::new();
        let mut dialers = Vec::new();
        let mut starts = Vec::new();
        let terms = Terms::of_local(Arc::new(self.limits.clone()));
        for index in 0..self.workers {
            let poller = Poller::new()?;
            let waker = poller.waker();
            let (peer, inbox) = mail::inbox(waker.clone());
            let (way, answers) = resolver::way(waker.clone());
            let (listener, dialer) = LocalListener::new(&poller);
            let of_worker = listeners.get_mut(usize::from(index)).map(std::mem::take);
            let mut listeners = of_worker.unwrap_or_default();
            listeners.push(Opened {
                listener: Box::new(listener),
                terms: Arc::clone(&terms),
            });
            wakers.push(waker);
            peers.push(peer);
            ways.push(way);
            dialers.push(dialer);
            starts.push((index, poller, inbox, answers, listeners));
        }
        let resolver = Resolver::new(ways);
        let mut workers = Vec::new();
        for (index, poller, inbox, answers, listeners) in starts {
            let mut core = Core::new(self.settings(index, directory.clone(), &resolver));
            if index == 0 {
                publish_version(&mut core, clock);
                core.start_status(clock.now());
            }
            workers.push(Worker::new(Parts {
                core,
                poller,
                clock,
                listeners,
                gate: Arc::clone(&gate),
                pending: Arc::clone(&pending),
                waiting_room: Arc::clone(&waiting_room),
                inbox,
                answers,
                peers: peers.clone(),
                stop: Arc::clone(&stop),
            })?);
        }
        let mut broker = Broker {
            local_addresses,
            listener_names,
            stop,
            wakers,
            threads: Vec::new(),
            directory,
            dialers,
            next_worker: AtomicUsize::new(0),
        };
        for (index, worker) in workers.into_iter().enumerate() {
            match spawn(index, worker, broker.stopper()) {
                Ok(thread) => broker.threads.push(thread),
                Err(error) => {
                    broker.stop();
                    // What went wrong first is what counts.
                    let _ = broker.wait();
                    return Err(error.into());
                }
            }
        }
        Ok(broker)
    }

    fn settings(&self, index: u8, directory: Directory, resolver: &Resolver) -> Settings {
        let worker = WorkerId::new(index);
        let mut settings = Settings::new(worker, directory, unguessable());
        settings.limits.clone_from(&self.broker_limits);
        settings.access = (self.access)(resolver);
        settings.accept_bridges = self.accept_bridges;
        settings.status_interval = self.status_interval;
        settings
    }

    /// Opens the listeners: for each worker one of each address.
    fn open(&mut self, gate: &Arc<Gate>) -> Result<Vec<Vec<Opened>>, StartError> {
        let workers = usize::from(self.workers);
        let limits = Arc::new(self.limits.clone());
        let mut of_workers: Vec<Vec<Opened>> = Vec::new();
        of_workers.resize_with(workers, Vec::new);
        for listener in std::mem::take(&mut self.listeners) {
            let opened = listener.open(workers, &limits, gate)?;
            for (of_worker, opened) in of_workers.iter_mut().zip(opened) {
                of_worker.extend(opened);
            }
        }
        Ok(of_workers)
    }
}

fn spawn(index: usize, worker: Worker, stopper: Stopper) -> io::Result<JoinHandle<io::Result<()>>> {
    let name = format!("mqttstack-{index}");
    thread::Builder::new().name(name).spawn(move || {
        // A worker that fails, by an error or a panic, takes the others along.
        let _stop_all = StopOnDrop(stopper);
        worker.run()
    })
}

impl fmt::Debug for BrokerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerBuilder")
            .field("listeners", &self.listeners)
            .field("limits", &self.limits)
            .field("broker_limits", &self.broker_limits)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

fn one_for_each_processor() -> u8 {
    let count = thread::available_parallelism().map_or(1, NonZero::get);
    u8::try_from(count).unwrap_or(u8::MAX)
}

struct StopOnDrop(Stopper);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Tells who asks which broker this is.
fn publish_version(core: &mut Core, clock: Clock) {
    let version = concat!("mqttstack version ", env!("CARGO_PKG_VERSION"));
    let message = Message::builder("$SYS/broker/version", version)
        .retain(true)
        .build();
    debug_assert!(message.is_ok(), "the message is well-formed");
    if let Ok(message) = message {
        core.publish_own(&message, clock.now());
    }
}

/// Returns a source of numbers that nobody can guess: a keyed hash, its key from the system, of a
/// counter.
fn unguessable() -> impl FnMut() -> u128 + Send {
    let (high, low) = (RandomState::new(), RandomState::new());
    let mut counter = 0_u64;
    move || {
        counter = counter.wrapping_add(1);
        (u128::from(high.hash_one(counter)) << 64) | u128::from(low.hash_one(counter))
    }
}
