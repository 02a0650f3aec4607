//! Authorization: who may see a task, who may change it, and who may assign it to whom.

pub(crate) mod assignment;
pub(crate) mod explain;
pub(crate) mod succession;
pub(crate) mod visibility;
