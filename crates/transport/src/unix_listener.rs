//! A Unix domain socket that accepts connections.

use std::{
    fs, io,
    os::fd::AsFd as _,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use mio::event::Source;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{
    AcceptError, Listener, PeerAddress, Stream, TransportError, UnixStream, tcp::uninterrupted,
};

/// How a Unix domain socket is opened.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnixListenOptions {
    /// Who may connect, as the permission bits of the socket file: writing is connecting. Default:
    /// `0o600`, the owner alone. The file has these bits before anybody can connect.
    pub mode: u32,
    /// How many connections may wait to be accepted. Default: 1024.
    pub backlog: u16,
}

impl Default for UnixListenOptions {
    fn default() -> Self {
        Self {
            mode: 0o600,
            backlog: 1024,
        }
    }
}

/// A Unix domain socket that accepts connections; dropping it, and all its clones, removes its file.
#[derive(Debug)]
pub struct UnixListener {
    socket: mio::net::UnixListener,
    address: PeerAddress,
    file: Arc<SocketFile>,
}

impl UnixListener {
    /// Opens a listener at `path`.
    ///
    /// A socket file that a process left behind without a listener is removed first; anything else
    /// at `path`, a socket that is listened on or another kind of file, stays as it is.
    ///
    /// # Errors
    ///
    /// [`TransportError::AddressInUse`] when something else is at `path`,
    /// [`TransportError::PermissionDenied`], or what else the system reports.
    pub fn bind(
        path: impl AsRef<Path>,
        options: &UnixListenOptions,
    ) -> Result<Self, TransportError> {
        let path = path.as_ref();
        let address = PeerAddress::Unix(path.into());
        open(path, options)
            .map(|(socket, file)| Self {
                socket: mio::net::UnixListener::from_std(socket),
                address: address.clone(),
                file: Arc::new(file),
            })
            .map_err(|error| TransportError::at(&address, &error))
    }

    /// Opens a further listener on the same socket, for another thread: whichever asks first gets
    /// the next connection.
    ///
    /// # Errors
    ///
    /// The system's, when it is short of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.as_fd().try_clone_to_owned()?;
        Ok(Self {
            socket: mio::net::UnixListener::from_std(socket.into()),
            address: self.address.clone(),
            file: Arc::clone(&self.file),
        })
    }

    /// Returns where the socket file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

impl Listener for UnixListener {
    fn accept(&mut self) -> Result<Option<Box<dyn Stream>>, AcceptError> {
        match uninterrupted(|| self.socket.accept()) {
            Ok((socket, _)) => Ok(Some(Box::new(UnixStream::accepted(socket, &self.address)))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(AcceptError::from(&error)),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        &mut self.socket
    }

    fn local_address(&self) -> &PeerAddress {
        &self.address
    }
}

/// The file that leads to the socket, as long as it is still the one that was made for it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A later process may have put its own socket there: that one is not ours to remove.
        let is_ours = |at: fs::Metadata| at.dev() == self.device && at.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path, options: &UnixListenOptions) -> io::Result<(net::UnixListener, SocketFile)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let at = fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: path.into(),
        device: at.dev(),
        inode: at.ino(),
    };
    // Nobody connects before the socket listens, so no moment has the wrong mode.
    fs::set_permissions(path, fs::Permissions::from_mode(options.mode))?;
    socket.listen(options.backlog.into())?;
    let socket = net::UnixListener::from(socket);
    socket.set_nonblocking(true)?;
    Ok((socket, file))
}

/// Removes a socket file on which nobody listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(at) if !at.file_type().is_socket() => Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) => match mio::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            // Alive, or busy, or not ours to ask: in each case not ours to remove.
            Ok(_) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
        },
    }
}

#[cfg(test)]
mod tests;
