//! What a worker keeps for the next messages, and gives back when they do not come.

use std::collections::VecDeque;

use super::Core;

/// Lists of so few elements are not worth the trouble.
const SMALL_LEN: usize = 1024;

impl Core {
    /// Gives memory back that has not been needed since the last call: caches, and what is used
    /// again for each message. Returns whether another call may give back more.
    ///
    /// A driver calls it every few seconds, as long as there is something to give back: then a
    /// storm leaves nothing behind, and while there is traffic nothing is made anew for each message.
    pub fn rest(&mut self) -> bool {
        self.messages.rest();
        self.match_cache.rest();
        shrink_queue(&mut self.dirty);
        shrink_queue(&mut self.worker_messages);
        shrink_queue(&mut self.notices);
        shrink_queue(&mut self.overflowed);
        self.early.rest();
        shrink(&mut self.hits);
        shrink(&mut self.matches);
        shrink(&mut self.scratch);
        self.others.iter_mut().for_each(shrink);
        let are_letters_left = self.directory.rack.rest();
        are_letters_left || self.messages.spare() > 0 || !self.match_cache.is_empty()
    }
}

/// Gives most of the room back that a long list has left.
fn shrink<T>(list: &mut Vec<T>) {
    if list.capacity() > SMALL_LEN && list.len() <= list.capacity() / 4 {
        list.shrink_to(list.len().saturating_mul(2).max(SMALL_LEN));
    }
}

fn shrink_queue<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > SMALL_LEN && queue.len() <= queue.capacity() / 4 {
        queue.shrink_to(queue.len().saturating_mul(2).max(SMALL_LEN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_that_are_short_now_give_their_room_back() {
        let mut list = Vec::with_capacity(100_000);
        list.push(1);
        shrink(&mut list);
        assert_eq!(list, [1]);
        assert!(list.capacity() < 2 * SMALL_LEN);
        let mut queue: VecDeque<u32> = (0..50_000).collect();
        queue.truncate(40_000);
        shrink_queue(&mut queue);
        assert_eq!(queue.len(), 40_000);
        queue.truncate(2);
        shrink_queue(&mut queue);
        assert_eq!(queue, [0, 1]);
        assert!(queue.capacity() < 2 * SMALL_LEN);
    }
}
