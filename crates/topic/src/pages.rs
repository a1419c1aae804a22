//! A vector whose growth moves nothing.

use alloc::vec::Vec;

/// Items in pages: pushing one never copies the others, however many there are.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    pages: Vec<Vec<T>>,
    len: usize,
}

const PAGE_BITS: u32 = 9;
const PAGE_LEN: usize = 1 << PAGE_BITS;

impl<T> Pages<T> {
    pub(crate) const fn new() -> Self {
        Self {
            pages: Vec::new(),
            len: 0,
        }
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.pages.last().is_none_or(|page| page.len() == PAGE_LEN) {
            // The first page grows as needed: what is small stays small.
            let capacity = if self.pages.is_empty() { 0 } else { PAGE_LEN };
            self.pages.push(Vec::with_capacity(capacity));
        }
        if let Some(page) = self.pages.last_mut() {
            page.push(item);
            self.len = self.len.saturating_add(1);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let page = self.pages.last_mut()?;
        let item = page.pop();
        self.len = self.len.saturating_sub(1);
        if page.is_empty() {
            self.pages.pop();
            if self.pages.is_empty() {
                self.pages = Vec::new();
            }
        }
        item
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.pages.get(index >> PAGE_BITS)?.get(index % PAGE_LEN)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.pages
            .get_mut(index >> PAGE_BITS)?
            .get_mut(index % PAGE_LEN)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}
