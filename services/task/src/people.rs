//! People and tasks: who sees what, who may do what, through whose hands work goes, and who is told.

pub(crate) mod assignment;
pub(crate) mod departures;
pub(crate) mod directory;
pub(crate) mod explain;
pub(crate) mod hands;
pub(crate) mod members;
pub(crate) mod mention;
pub(crate) mod suggestion;
pub(crate) mod visibility;
pub(crate) mod watching;
