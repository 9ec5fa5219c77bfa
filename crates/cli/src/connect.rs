//! From connection arguments to a client.

use std::time::Duration;

use ottla_client::{Admin, Client, ClientOptions, HostPort};

use crate::args::ConnectionArgs;
use crate::exit::Failure;

/// A client for the brokers that the arguments name.
pub(crate) fn client(args: &ConnectionArgs) -> Result<Client, Failure> {
    let bootstrap = HostPort::parse_list(&args.brokers).map_err(|error| {
        Failure::usage(error.to_string()).with_hint("Brokers come from -b or OTTLA_BROKERS.")
    })?;
    let timeout = Duration::from_secs(args.timeout.max(1));
    let mut options = ClientOptions::new(bootstrap);
    options.api_timeout = timeout;
    options.connection.request_timeout = timeout;
    options.connection.outbound.connect_timeout = timeout.min(CONNECT_MAX);
    options.connection.client_id.clone_from(&args.client_id);
    Ok(Client::new(options))
}

/// As [`client`], for administrative calls.
pub(crate) fn admin(args: &ConnectionArgs) -> Result<Admin, Failure> {
    Ok(Admin::new(client(args)?))
}

/// A broker that does not answer the connection by then is down or somewhere else.
const CONNECT_MAX: Duration = Duration::from_secs(5);
