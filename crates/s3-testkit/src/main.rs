//! The S3 test server as a process of its own.
//!
//! The first line it prints is `listening on http://ADDRESS`; a parent process waits for it.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use s3_testkit::{Credentials, TestServer, TestServerOptions, TlsIdentity};

const HELP: &str = "\
An S3 server for tests: everything is in memory and gone when it stops.

Usage: s3-testkit [OPTIONS]

  --listen ADDRESS        where to listen (127.0.0.1:0: a free port)
  --bucket NAME           the bucket that exists (test-bucket)
  --access-key KEY        the access key ID (test)
  --secret-key KEY        the secret access key (test-secret-key)
  --anonymous             take requests without signature, and only those
  --region NAME           the bucket's region (us-east-1)
  --page-size N           the most entries of a list's page (1000)
  --latency-ms N          how long each request waits (0)
  --tls                   speak TLS as localhost, with the certificates of the tests
  --no-md5                make ETags that are cheaper than MD5
  --versioning            keep versions of objects
  --object-lock           take locks, and keep versions
  --any-class             take unknown storage classes too
  --until-stdin-closes    stop when standard input ends
  --help                  this text

Pages: GET /_testkit/objects, GET /_testkit/puts, GET /_testkit/requests, POST /_testkit/clock?advance=SECONDS,
POST /_testkit/faults?error=CODE&status=503&on=put&keys=PREFIX&times=N
";

/// What the command line asks for.
struct Command {
    options: TestServerOptions,
    until_stdin_closes: bool,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(Some(command)) => run(command),
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(message) => fail(&message),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("s3-testkit: {message}");
    ExitCode::FAILURE
}

/// Reads the arguments; none means that help was asked for.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Command>, String> {
    let mut options = TestServerOptions::default();
    let mut keys = Credentials::new("test", "test-secret-key");
    let (mut until_stdin_closes, mut anonymous) = (false, false);
    while let Some(argument) = arguments.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        let mut value = || {
            let value = inline.clone().or_else(|| arguments.next());
            value.ok_or_else(|| format!("{name} needs a value"))
        };
        match name.as_str() {
            "--listen" => options.listen = number(&name, &value()?)?,
            "--bucket" => options.bucket = value()?,
            "--access-key" => keys.access_key = value()?,
            "--secret-key" => keys.secret_key = value()?,
            "--region" => options.region = value()?,
            "--page-size" => options.page_size = number(&name, &value()?)?,
            "--latency-ms" => options.latency = Duration::from_millis(number(&name, &value()?)?),
            "--anonymous" => anonymous = true,
            "--no-md5" => options.md5_etags = false,
            "--tls" => options.tls = Some(TlsIdentity::for_tests()),
            "--versioning" => options.versioning = true,
            "--object-lock" => options.object_lock = true,
            "--any-class" => options.strict_classes = false,
            "--until-stdin-closes" => until_stdin_closes = true,
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("there is no option {name}; see --help")),
        }
    }
    options.credentials = if anonymous { vec![] } else { vec![keys] };
    Ok(Some(Command { options, until_stdin_closes }))
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name}: {text} cannot be read"))
}

fn run(command: Command) -> ExitCode {
    let server = match TestServer::start_blocking(command.options) {
        Ok(server) => server,
        Err(error) => return fail(&error.to_string()),
    };
    println!("listening on {}", server.endpoint());
    if std::io::stdout().flush().is_err() {
        return fail("nobody reads its standard output");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(wait(command.until_stdin_closes));
            // A thread that still reads standard input must not keep the process.
            runtime.shutdown_background();
            server.stop();
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string()),
    }
}

/// Returns when the server has to stop.
async fn wait(until_stdin_closes: bool) {
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated() => {}
        () = stdin_closed(), if until_stdin_closes => {}
    }
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}

async fn stdin_closed() {
    // Whatever is written there is ignored; an error is an end too.
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
}
