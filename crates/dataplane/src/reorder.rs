//! Results back in the order in which their tickets were drawn.
//!
//! Work is handed to cores in one order and comes back in any. A [`Ticket`] drawn before the work
//! keeps its place; what is delivered with it goes to the sink as soon as everything before it has
//! been delivered or given up. The window grows with the work in flight, which the budget and the
//! queues bound. A ticket that is dropped gives its place up, so a failure holds nobody.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A place in a window whose result is not there yet, there, or given up.
enum Slot<T> {
    Waiting,
    Ready(T),
    GivenUp,
}

struct Window<T> {
    /// The ticket of the first slot.
    first: u64,
    slots: VecDeque<Slot<T>>,
    sink: Box<dyn FnMut(T) + Send>,
}

impl<T> Window<T> {
    fn settle(&mut self, number: u64, slot: Slot<T>) {
        assert!(number >= self.first, "a ticket is settled once");
        let place = usize::try_from(number - self.first).expect("the window fits in memory");
        self.slots[place] = slot;
        while !matches!(self.slots.front(), None | Some(Slot::Waiting)) {
            self.first += 1;
            if let Some(Slot::Ready(item)) = self.slots.pop_front() {
                (self.sink)(item);
            }
        }
    }
}

/// A window that puts results in order. Clones share it.
pub struct Reorder<T>(Arc<Mutex<Window<T>>>);

impl<T> Reorder<T> {
    /// A window that hands results to `sink` in order, one at a time.
    ///
    /// The sink runs on whichever thread completes the order and while the window is held: it must
    /// be short, must not block, and must not draw or settle tickets of this window.
    pub fn new(sink: impl FnMut(T) + Send + 'static) -> Self {
        let window = Window { first: 0, slots: VecDeque::new(), sink: Box::new(sink) };
        Self(Arc::new(Mutex::new(window)))
    }

    /// Draws the next ticket.
    pub fn ticket(&self) -> Ticket<T> {
        let mut window = lock(&self.0);
        let number = window.first + window.slots.len() as u64;
        window.slots.push_back(Slot::Waiting);
        drop(window);
        Ticket { window: Arc::clone(&self.0), number, settled: false }
    }

    /// How many tickets wait for an earlier one, or are out.
    pub fn in_flight(&self) -> usize {
        lock(&self.0).slots.len()
    }
}

impl<T> Clone for Reorder<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Reorder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reorder({} in flight)", self.in_flight())
    }
}

/// A place in the order. Dropped without a delivery, it is given up.
#[must_use = "everything behind a ticket waits for it"]
pub struct Ticket<T> {
    window: Arc<Mutex<Window<T>>>,
    number: u64,
    settled: bool,
}

impl<T> Ticket<T> {
    /// Delivers the result; it and whatever it held up go to the sink.
    pub fn deliver(mut self, item: T) {
        self.settled = true;
        lock(&self.window).settle(self.number, Slot::Ready(item));
    }

    /// The place, counted from 0.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        if !self.settled {
            lock(&self.window).settle(self.number, Slot::GivenUp);
        }
    }
}

impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.number)
    }
}

/// A sink that panicked has lost one item; the window itself is whole.
fn lock<T>(window: &Mutex<Window<T>>) -> MutexGuard<'_, Window<T>> {
    window.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collecting() -> (Reorder<u64>, Arc<Mutex<Vec<u64>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        (Reorder::new(move |item| sink.lock().unwrap().push(item)), seen)
    }

    #[test]
    fn results_leave_in_the_order_of_their_tickets() {
        let (window, seen) = collecting();
        let (a, b, c) = (window.ticket(), window.ticket(), window.ticket());
        c.deliver(3);
        b.deliver(2);
        assert!(seen.lock().unwrap().is_empty());
        a.deliver(1);
        assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
        assert_eq!(window.in_flight(), 0);
    }

    #[test]
    fn a_dropped_ticket_holds_nobody() {
        let (window, seen) = collecting();
        let (a, b) = (window.ticket(), window.ticket());
        b.deliver(2);
        drop(a);
        assert_eq!(*seen.lock().unwrap(), [2]);
    }

    #[test]
    fn threads_in_any_order_give_one_order() {
        let (window, seen) = collecting();
        let tickets: Vec<_> = (0..64).map(|_| window.ticket()).collect();
        std::thread::scope(|scope| {
            for ticket in tickets.into_iter().rev() {
                scope.spawn(move || {
                    let number = ticket.number();
                    if number % 7 != 3 {
                        ticket.deliver(number);
                    }
                });
            }
        });
        let expected: Vec<_> = (0..64).filter(|n| n % 7 != 3).collect();
        assert_eq!(*seen.lock().unwrap(), expected);
    }
}
