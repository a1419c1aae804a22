//! A queue that mostly holds one element at most.

use alloc::{boxed::Box, collections::VecDeque};

/// A queue whose first element takes no memory of its own.
///
/// The room that more elements took stays for the next ones, until [`rest`](Self::rest).
#[derive(Clone, Debug)]
pub(crate) struct ShortQueue<T> {
    /// Goes ahead of `rest`.
    first: Option<T>,
    #[expect(
        clippy::box_collection,
        reason = "one word instead of four, in every connection"
    )]
    rest: Option<Box<VecDeque<T>>>,
}

impl<T> ShortQueue<T> {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            rest: None,
        }
    }

    pub(crate) fn push_back(&mut self, element: T) {
        match &mut self.rest {
            Some(rest) if self.first.is_some() || !rest.is_empty() => rest.push_back(element),
            None if self.first.is_some() => {
                self.rest = Some(Box::new(VecDeque::from([element])));
            }
            Some(_) | None => self.first = Some(element),
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let first = self.first.take();
        first.or_else(|| self.rest.as_mut()?.pop_front())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.len());
        rest.saturating_add(usize::from(self.first.is_some()))
    }

    /// Gives back the room that nothing needs now.
    pub(crate) fn rest(&mut self) {
        self.rest.take_if(|rest| rest.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_takes_no_memory_and_the_others_give_it_back() {
        let mut queue = ShortQueue::new();
        for n in 0..9 {
            queue.push_back(n);
            assert_eq!(queue.pop_front(), Some(n));
            assert!(queue.rest.is_none());
        }
        queue.push_back(1);
        queue.push_back(2);
        queue.rest();
        assert_eq!((queue.pop_front(), queue.pop_front()), (Some(1), Some(2)));
        assert!(queue.rest.is_some(), "kept for the next ones");
        queue.rest();
        assert!(queue.rest.is_none());
    }

    proptest! {
        #[test]
        fn behaves_as_a_queue(pushes in proptest::collection::vec(any::<Option<u8>>(), 0..200)) {
            let mut queue = ShortQueue::new();
            let mut model = VecDeque::new();
            for push in pushes {
                match push {
                    Some(element) => {
                        queue.push_back(element);
                        model.push_back(element);
                    }
                    None => {
                        prop_assert_eq!(queue.pop_front(), model.pop_front());
                        queue.rest();
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
            }
        }
    }
}
