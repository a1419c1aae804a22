//! SIGINT and SIGTERM: disconnect in good order, then leave.

use std::{
    io, process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use mqttstack_client::Client;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

/// How long the delivery of what was handed over may take after a signal.
const SHUTDOWN: Duration = Duration::from_secs(2);
/// How long the command may take to end by itself after that.
const GRACE: Duration = Duration::from_millis(500);
const EXIT_CODE: i32 = 130;

/// Whether a signal has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on, a signal shuts the client down. A second signal ends the process at once.
    pub(crate) fn watch(client: Client) -> io::Result<Self> {
        let interrupt = Self::default();
        let flag = interrupt.clone();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                let mut client = Some(client);
                for _ in signals.forever() {
                    flag.0.store(true, Ordering::SeqCst);
                    match client.take() {
                        Some(client) => {
                            thread::spawn(move || {
                                let _ = client.shutdown(SHUTDOWN);
                                // The command may be stuck where nothing wakes it: in a read.
                                thread::sleep(GRACE);
                                process::exit(EXIT_CODE);
                            });
                        }
                        None => process::exit(EXIT_CODE),
                    }
                }
            })?;
        Ok(interrupt)
    }

    pub(crate) fn has_come(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
