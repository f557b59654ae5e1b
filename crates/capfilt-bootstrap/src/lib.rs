//! CapFilt's loop (Li et al. 2022, arXiv 2201.12086, section 3.3) as a list of steps.
//!
//! ```text
//! human ─┐                 ┌─ finetune on human ─▶ captioner ─┐
//!        ├─ pretrain ─▶ M0 ┤                                  ├─ CapFilt on web ─▶ dataset
//! web ───┘                 └─ finetune on human ─▶ filter ────┘        │
//!                                             human ──────── pretrain ◀┘ ─▶ a model: compare, or go round again
//! ```
//!
//! A [`BootstrapFile`] says what there is and which [`Arm`]s are compared. [`steps`] makes of it a list of commands of
//! this program, each after those that it needs: what a step is told is a file that `capfilt train` or `capfilt run`
//! takes by hand as well, and that [`Step::file`] writes. [`Ledger`] knows which steps are done with what,
//! [`Results`] gathers what came of them.

mod arm;
mod file;
mod ledger;
mod results;
mod step;
mod steps;
mod summary;

pub use arm::{Arm, Keep, Models, Next};
pub use file::{BootstrapFile, FileError, HeldOutSet, Phase, Table, Web};
pub use ledger::{Ledger, LedgerError, Outlook, State, outlook};
pub use results::{ArmResult, DataCounts, Results, ResultsError};
pub use step::{Kind, Layout, On, Step, StepError, Training};
pub use steps::{Run, steps};
pub use summary::{Cell, Summary, summarise};
