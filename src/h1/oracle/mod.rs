//! The oracles of property tests and fuzz targets: a second parser, requests made up from the grammar, and a connection
//! played from pieces.

#[cfg(test)]
mod properties;
pub(crate) mod reference;
pub(crate) mod replay;
#[cfg(test)]
mod samples;
