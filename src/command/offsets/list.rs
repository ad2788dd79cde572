//! `kinetail offsets list`

use std::fs;
use std::io::Write;
use std::path::Path;

use super::listing::Listing;
use super::{Site, Stop, ask, known_flow, shown, text, unreadable};
use crate::command::{exit, run};
use crate::config::{ADMIN_DEFAULT, one_line};
use crate::offsets::{Offsets, OpenError, Peeked};

/// Shows what the store says; that of a running agent at its admin address.
pub(super) fn list(site: &Site, flow: Option<&str>, json: bool, out: &mut impl Write) -> Result<(), Stop> {
    let mut listing = match Offsets::peek(&site.state_dir) {
        Ok(Some(contents)) => {
            let forget_after = site.config.as_ref().map(|config| config.agent.forget_after);
            Listing::of_stopped(&site.state_dir, &contents, forget_after)
        }
        Ok(None) => {
            if let Err(error) = fs::metadata(&site.state_dir) {
                return Err(unreadable(format!("cannot use the state folder {}: {error}", site.folder())));
            }
            run::warn(&format!("there are no offsets in {} yet", site.folder()));
            Listing::of_stopped(&site.state_dir, &Peeked::default(), None)
        }
        Err(OpenError::InUse(_)) => of_running(site)?,
        Err(error) => return Err(site.not_opened(&error)),
    };
    if let Some(flow) = flow {
        let configured = site.config.iter().flat_map(|config| &config.flows).map(|flow| flow.name.as_str());
        known_flow(flow, configured.chain(listing.flows.iter().map(|of| of.flow.as_str())))?;
        listing.keep(flow);
    }
    if json {
        let document = listing.to_json().map_err(|error| unreadable(error.to_string()))?;
        out.write_all(document.as_bytes())?;
    } else {
        text::write(&listing, out)?;
    }
    Ok(())
}

fn of_running(site: &Site) -> Result<Listing, Stop> {
    let folder = site.folder();
    let not_told = |why: String| {
        let hint = if site.config.is_none() { ", or give --config, which says where its admin address is" } else { "" };
        let text = format!("an agent is running with the state folder {folder}, and {why}; stop it to see its offsets{hint}");
        Stop::Failed(text, exit::TEMPFAIL)
    };
    let address = match &site.config {
        Some(config) => config.agent.admin,
        None => Some(ADMIN_DEFAULT),
    };
    let address = address.ok_or_else(|| not_told("its admin address is off".to_owned()))?;
    if address.port() == 0 {
        return Err(not_told("its admin address is any port that is free, which only its log says".to_owned()));
    }
    let listing = ask::ask(address).map_err(|why| not_told(format!("{} {}", address, one_line(&why))))?;
    if !is_same_folder(Path::new(&listing.state_dir), &site.state_dir) {
        let other = shown(Path::new(&listing.state_dir));
        return Err(not_told(format!("at {address} another answers, with the state folder {other}")));
    }
    Ok(listing)
}

fn is_same_folder(one: &Path, other: &Path) -> bool {
    let [one_real, other_real] = [one, other].map(fs::canonicalize);
    matches!((one_real, other_real), (Ok(one), Ok(other)) if one == other) || one == other
}
