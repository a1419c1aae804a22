//! Child processes that cannot outlive the command that started them.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::clock::Deadline;

const POLL: Duration = Duration::from_millis(5);

/// A child process that is killed and reaped when it is dropped.
#[derive(Debug)]
pub(crate) struct Guarded(Child);

impl Guarded {
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("starting {}", describe(command)))?;
        Ok(Self(child))
    }

    /// Sends the signal of this name, as `kill` does.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("sh")
            .args([
                "-c",
                "kill -s \"$0\" \"$1\"",
                name,
                &self.0.id().to_string(),
            ])
            .stderr(Stdio::null())
            .status()
            .context("sending a signal")?;
        if !status.success() {
            bail!("sending SIG{name} to process {}: {status}", self.0.id());
        }
        Ok(())
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait_for(&mut self, wait: Duration) -> Result<ExitStatus> {
        let deadline = Deadline::after(wait);
        loop {
            if let Some(status) = self.0.try_wait().context("waiting for a child process")? {
                return Ok(status);
            }
            if deadline.remaining().is_none() {
                bail!("process {} still runs after {wait:?}", self.0.id());
            }
            thread::sleep(POLL);
        }
    }

    /// Ends the process on the spot: it gets no chance to say good-bye on its sockets.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.0.kill().context("killing a child process")?;
        self.0.wait().context("reaping a child process")?;
        Ok(())
    }
}

impl Deref for Guarded {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Both fail only for a process that is already gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end within `wait` and returns what it wrote to standard output.
///
/// # Errors
///
/// The program cannot be started, does not end in time, or fails; then with all its output.
pub(crate) fn run_bounded(command: &mut Command, wait: Duration) -> Result<Vec<u8>> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let description = describe(command);
    let mut child = Guarded::spawn(command)?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = child.wait_for(wait).with_context(|| description.clone())?;
    let stdout = stdout.recv().unwrap_or_default();
    let stderr = stderr.recv().unwrap_or_default();
    if !status.success() {
        bail!(
            "{description}: {status}\n{}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    }
    Ok(stdout)
}

/// How a program ended, and all that it wrote.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// Standard output, then standard error.
    pub(crate) text: String,
}

/// Runs a program to its end within `wait`, whatever that is.
pub(crate) fn run_to_end(command: &mut Command, wait: Duration) -> Result<End> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Guarded::spawn(command)?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = child.wait_for(wait).with_context(|| describe(command))?;
    let bytes = [stdout, stderr].map(|stream| stream.recv().unwrap_or_default());
    Ok(End {
        status,
        text: String::from_utf8_lossy(&bytes.concat()).into_owned(),
    })
}

/// Reads lines on a thread of their own; the channel ends with the stream.
pub(crate) fn lines<R: Read + Send + 'static>(stream: R) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while let Ok(1..) = reader.read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line)
                .trim_end_matches(['\r', '\n'])
                .to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

/// The command line as a person would type it.
pub(crate) fn describe(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let _ = write!(text, " {}", argument.to_string_lossy());
    }
    text
}

fn collect<R: Read + Send + 'static>(stream: Option<R>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}
