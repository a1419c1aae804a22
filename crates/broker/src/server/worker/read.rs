//! What a worker reads from its links, and how much of it at a time.

use std::io::{self, IoSliceMut};

use mqttstack_limits::Instant;
use mqttstack_transport::Token;

use super::{Source, Worker};
use crate::{
    core::{ConnectionId, Core},
    server::{
        link::{Link, LinkPhase},
        log,
    },
};

/// How many bytes are read in search of the beginning of a large packet, or along with its end: they
/// are copied, all others of such a packet are read to where they stay.
const READ_AHEAD_BYTES: usize = 2 * 1024;
/// How many bytes are read from one connection before the others have their turn.
const READ_BUDGET_BYTES: usize = 256 * 1024;
/// What one read takes of that at least: a layer may go through far more than it hands on, such as
/// frames of WebSockets that carry nothing.
const READ_COST_MIN_BYTES: usize = 16 * 1024;
/// By how much less bytes of large packets count there: nobody looks at them, and a packet of a
/// megabyte that is read in one go is still in the caches when it is written.
const IN_PLACE_DISCOUNT: usize = 4;

/// How many packets are read along with the rest of a large one, each to where it stays if it is as
/// long as that one, and how many bytes of them.
const AHEAD_PACKETS_MAX: usize = 3;
const AHEAD_BYTES_MAX: usize = 256 * 1024;

/// What one read came to.
#[derive(Default)]
struct Read {
    count: usize,
    /// How many of them belong to a large packet, and are where they stay.
    in_place: usize,
    /// How many lie in the memory for the next ones.
    ahead: usize,
    /// Whether a socket has no more: there was room for it.
    is_all: bool,
}

impl Worker {
    /// Reads what is there, up to the budget.
    pub(super) fn read(&mut self, token: Token, now: Instant) {
        let mut budget = READ_BUDGET_BYTES;
        loop {
            let Some(Source::Link(link)) = self.sources.get_mut(token) else {
                return;
            };
            if !link.is_readable {
                return;
            }
            match link.phase {
                LinkPhase::Opening | LinkPhase::Flushing => return,
                LinkPhase::Open if self.core.is_paused(link.id) => return,
                LinkPhase::Open | LinkPhase::Lingering => {}
            }
            // What is read may lead to mail that there is no room for.
            if budget == 0 || self.mail.is_congested() {
                if !std::mem::replace(&mut link.is_ready, true) {
                    self.ready.push_back(token);
                }
                return;
            }
            match read_once(link, &mut self.core, &mut self.buffer, &mut self.ahead) {
                Ok(Read { count: 0, .. }) => {
                    link.is_readable = false;
                    return self.on_peer_end(token, now);
                }
                Ok(Read {
                    count,
                    in_place,
                    ahead,
                    is_all,
                }) => {
                    let large = in_place + ahead;
                    let cost = count - large + large / IN_PLACE_DISCOUNT;
                    budget = budget.saturating_sub(cost.max(READ_COST_MIN_BYTES));
                    self.unflushed += large;
                    // Asking again would be a system call for nothing.
                    let is_drained = is_all && link.stream.is_bare();
                    link.is_readable = !is_drained || link.is_ending;
                    if link.phase == LinkPhase::Open {
                        let input = self.buffer.get(..count - large).unwrap_or_default();
                        if let Some(place) = &mut link.place
                            && !std::mem::replace(&mut place.has_begun, true)
                        {
                            let address = &link.stream.peer().address;
                            self.stranger_log.first_input(address, input, now);
                        }
                        if in_place > 0 {
                            self.core.handle_input_in_place(link.id, in_place, now);
                        }
                        hand_over(&mut self.core, link.id, &mut self.ahead, ahead, now);
                        if !input.is_empty() {
                            self.core.handle_input(link.id, input, now);
                        }
                        link.is_bulky = in_place > 0 || self.core.input_place(link.id).is_some();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // No event announces what a layer holds back for now.
                    link.is_readable = link.stream.has_buffered_input();
                    return;
                }
                Err(error) => {
                    if link.phase == LinkPhase::Open
                        && let Some(peer) = self.core.peer(link.id)
                    {
                        log::broken(&peer, &error);
                    }
                    if error.kind() == io::ErrorKind::InvalidData && !link.has_failed {
                        return self.fail(token, now);
                    }
                    return self.drop_link(token, now);
                }
            }
        }
    }
}

/// Reads once: the rest of a large packet to where it stays, and what follows to where it would stay if
/// it is more of the kind; everything else into the buffer.
fn read_once(
    link: &mut Link,
    core: &mut Core,
    buffer: &mut [u8],
    ahead: &mut Vec<Box<[u8]>>,
) -> io::Result<Read> {
    if link.has_failed {
        let count = link.stream.discard(buffer)?;
        return Ok(Read {
            count,
            is_all: count < buffer.len(),
            ..Read::default()
        });
    }
    let is_open = link.phase == LinkPhase::Open;
    if is_open && core.input_place(link.id).is_some() {
        if link.stream.is_bare() {
            plan_ahead(core, link.id, ahead);
        }
        let result = read_large(link, core, buffer, ahead);
        let used = result.as_ref().map_or(0, |read| read.ahead);
        // Those that something is in are at the beginning.
        let mut room = 0;
        ahead.retain_mut(|buffer| {
            let is_used = room < used;
            room += buffer.len();
            if !is_used {
                core.put_back_ahead(std::mem::take(buffer));
            }
            is_used
        });
        return result;
    }
    let room = match link.is_bulky {
        true => READ_AHEAD_BYTES.min(buffer.len()),
        false => buffer.len(),
    };
    let count = link
        .stream
        .read(buffer.get_mut(..room).unwrap_or_default())?;
    Ok(Read {
        count,
        is_all: count < room,
        ..Read::default()
    })
}

/// Gets memory for the packets that may follow.
fn plan_ahead(core: &mut Core, id: ConnectionId, ahead: &mut Vec<Box<[u8]>>) {
    let mut bytes = 0;
    while ahead.len() < AHEAD_PACKETS_MAX && bytes < AHEAD_BYTES_MAX {
        let Some(buffer) = core.input_ahead(id) else {
            return;
        };
        bytes += buffer.len();
        ahead.push(buffer);
    }
}

fn read_large(
    link: &mut Link,
    core: &mut Core,
    buffer: &mut [u8],
    ahead: &mut [Box<[u8]>],
) -> io::Result<Read> {
    let Some(place) = core.input_place(link.id) else {
        return Ok(Read::default());
    };
    let rest = buffer.get_mut(..READ_AHEAD_BYTES).unwrap_or_default();
    let place_len = place.len();
    let ahead_len = ahead.iter().map(|buffer| buffer.len()).sum::<usize>();
    let room = place_len + ahead_len + rest.len();
    let mut slices: [_; AHEAD_PACKETS_MAX + 2] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
    let mut slice_count = 0;
    let places = std::iter::once(place)
        .chain(ahead.iter_mut().map(|buffer| &mut **buffer))
        .chain(std::iter::once(rest));
    for (slice, place) in slices.iter_mut().zip(places) {
        *slice = IoSliceMut::new(place);
        slice_count += 1;
    }
    let slices = slices.get_mut(..slice_count).unwrap_or_default();
    let count = link.stream.read_vectored(slices)?;
    let in_place = count.min(place_len);
    Ok(Read {
        count,
        in_place,
        ahead: (count - in_place).min(ahead_len),
        // A stream without vectored reads fills the first slice alone, and says nothing of it.
        is_all: count < room && count != place_len,
    })
}

/// Hands over what was read to memory for the next packets.
fn hand_over(
    core: &mut Core,
    id: ConnectionId,
    ahead: &mut Vec<Box<[u8]>>,
    mut len: usize,
    now: Instant,
) {
    for buffer in ahead.drain(..) {
        let count = len.min(buffer.len());
        len -= count;
        core.handle_input_ahead(id, buffer, count, now);
    }
}
