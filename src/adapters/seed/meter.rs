//! gix's progress tree, reduced to the numbers that people are shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use gix::progress::{Id, MessageLevel, Step, StepShared, UNKNOWN, Unit};

/// The numbers. gix counts some of them past its own trait, in the shared counter that it asks for.
#[derive(Debug, Default)]
pub struct Numbers {
    /// Objects received.
    pub received: StepShared,
    /// Objects announced.
    pub total: AtomicUsize,
    /// Objects resolved, of the part of the pack that is being resolved.
    pub resolved: StepShared,
    /// And of the parts before it.
    pub before: AtomicUsize,
    /// Bytes of the pack.
    pub bytes: Arc<AtomicU64>,
    /// Bytes that came of it, by inflating and by applying deltas.
    pub inflated: StepShared,
    /// Whether all of it is here and is being resolved.
    pub unpacking: AtomicBool,
}

/// A node of the tree.
pub struct Meter {
    numbers: Arc<Numbers>,
    id: Id,
    step: StepShared,
    /// Whether what is read is of what came, and has not been counted.
    comes: bool,
}

impl Meter {
    /// Returns the root of a tree that counts into `numbers`.
    pub fn root(numbers: Arc<Numbers>) -> Self {
        Self::node(numbers, UNKNOWN, true)
    }

    /// Returns a node that counts inflated bytes into `numbers`.
    pub fn inflated(numbers: Arc<Numbers>) -> Self {
        Self::node(numbers, *b"IWDB", true)
    }

    /// Returns the root of a tree that counts into `numbers` what is resolved of objects that have come.
    pub fn resolving(numbers: Arc<Numbers>) -> Self {
        Self::node(numbers, UNKNOWN, false)
    }

    /// The names are those of `gix_pack::index::write::ProgressId`.
    fn node(numbers: Arc<Numbers>, id: Id, comes: bool) -> Self {
        let step = match &id {
            b"IWIO" if comes => Arc::clone(&numbers.received),
            b"IWRO" => Arc::clone(&numbers.resolved),
            b"IWDB" => Arc::clone(&numbers.inflated),
            _ => StepShared::default(),
        };
        Meter { numbers, id, step, comes }
    }
}

impl gix::Count for Meter {
    fn set(&self, step: Step) {
        self.step.store(step, Relaxed);
    }

    fn step(&self) -> Step {
        self.step.load(Relaxed)
    }

    fn inc_by(&self, step: Step) {
        self.step.fetch_add(step, Relaxed);
    }

    fn counter(&self) -> StepShared {
        Arc::clone(&self.step)
    }
}

impl gix::Progress for Meter {
    fn init(&mut self, max: Option<Step>, _unit: Option<Unit>) {
        if self.id == *b"IWIO" && self.comes {
            self.numbers.total.store(max.unwrap_or(0), Relaxed);
        }
        if self.id == *b"IWRO" {
            self.numbers.unpacking.store(true, Relaxed);
        }
    }

    fn set_name(&mut self, _name: String) {}

    fn name(&self) -> Option<String> {
        None
    }

    fn id(&self) -> Id {
        self.id
    }

    fn message(&self, _level: MessageLevel, message: String) {
        tracing::trace!(message, "gix");
    }
}

impl gix::NestedProgress for Meter {
    type SubProgress = Meter;

    fn add_child(&mut self, name: impl Into<String>) -> Meter {
        self.add_child_with_id(name, UNKNOWN)
    }

    fn add_child_with_id(&mut self, _name: impl Into<String>, id: Id) -> Meter {
        Self::node(Arc::clone(&self.numbers), id, self.comes)
    }
}
