//! Authorization, TLS, SASL and delegation tokens. None of it exists yet: see each key.
//!
//! Data only: names, types, defaults and bounds are those of Apache Kafka 4.3; descriptions and
//! status are ours. A row ends with its description.

use crate::key::{Key, boolean, class, double, int, list, long, password, short, string};

/// Authorization, TLS, SASL and delegation tokens. None of it exists yet: see each key.
#[rustfmt::skip] // one key reads as one entry
pub(super) const KEYS: &[Key] = &[
    string("authorizer.class.name").or("").low().refused("authorization")
        .doc("Class that decides who may do what; empty allows everything to everyone."),
    class("principal.builder.class").or("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder").per_broker()
        .refused("authentication")
        .doc("Java class that turns a connection's identity into a principal."),
    string("security.providers").null().low().refused("TLS and SASL")
        .doc("Java classes of security providers."),
    password("delegation.token.secret.key").null().refused("delegation tokens")
        .doc("Secret from which delegation tokens are made."),
    long("delegation.token.max.lifetime.ms").or("604800000").at_least(1)
        .not_yet("delegation tokens")
        .doc("Longest life of a delegation token."),
    long("delegation.token.expiry.time.ms").or("86400000").at_least(1).not_yet("delegation tokens")
        .doc("Time after which a delegation token must be renewed."),
    long("delegation.token.expiry.check.interval.ms").or("3600000").at_least(1).low()
        .not_yet("delegation tokens")
        .doc("How often expired delegation tokens are removed."),
    boolean("ssl.allow.dn.changes").or("false").low().refused("TLS")
        .doc("Allow a new certificate to have another distinguished name."),
    boolean("ssl.allow.san.changes").or("false").low().refused("TLS")
        .doc("Allow a new certificate to have fewer alternative names."),
    list("ssl.cipher.suites").or("").list(&[], true).per_broker().refused("TLS")
        .doc("Cipher suites that may be used."),
    string("ssl.client.auth").or("none").one_of(&["required", "requested", "none"]).per_broker()
        .refused("TLS")
        .doc("Whether clients must, may or need not show a certificate."),
    list("ssl.enabled.protocols").or("TLSv1.2,TLSv1.3").list(&[], true).per_broker().refused("TLS")
        .doc("TLS versions that may be used."),
    string("ssl.protocol").or("TLSv1.3").per_broker().refused("TLS")
        .doc("TLS version that is preferred."),
    string("ssl.provider").null().per_broker().refused("TLS")
        .doc("Java security provider of TLS."),
    string("ssl.endpoint.identification.algorithm").or("https").low().per_broker().refused("TLS")
        .doc("How the name in a server's certificate is checked."),
    class("ssl.engine.factory.class").null().low().per_broker().refused("TLS")
        .doc("Java class that creates TLS engines."),
    password("ssl.key.password").null().per_broker().refused("TLS")
        .doc("Password of the private key."),
    string("ssl.keymanager.algorithm").or("SunX509").per_broker().refused("TLS")
        .doc("Algorithm of the key manager."),
    password("ssl.keystore.certificate.chain").null().per_broker().refused("TLS")
        .doc("Certificate chain in PEM form."),
    password("ssl.keystore.key").null().per_broker().refused("TLS")
        .doc("Private key in PEM form."),
    string("ssl.keystore.location").null().per_broker().refused("TLS")
        .doc("File with the private key and its certificates."),
    password("ssl.keystore.password").null().per_broker().refused("TLS")
        .doc("Password of the key file."),
    string("ssl.keystore.type").or("JKS").per_broker().refused("TLS")
        .doc("Format of the key file."),
    string("ssl.principal.mapping.rules").or("DEFAULT").low().refused("TLS")
        .doc("Rules that shorten a certificate's distinguished name to a principal."),
    string("ssl.secure.random.implementation").null().low().per_broker().refused("TLS")
        .doc("Random number generator of TLS."),
    string("ssl.trustmanager.algorithm").or("PKIX").per_broker().refused("TLS")
        .doc("Algorithm of the trust manager."),
    password("ssl.truststore.certificates").null().per_broker().refused("TLS")
        .doc("Trusted certificates in PEM form."),
    string("ssl.truststore.location").null().per_broker().refused("TLS")
        .doc("File with the trusted certificates."),
    password("ssl.truststore.password").null().per_broker().refused("TLS")
        .doc("Password of the file with trusted certificates."),
    string("ssl.truststore.type").or("JKS").per_broker().refused("TLS")
        .doc("Format of the file with trusted certificates."),
    list("sasl.enabled.mechanisms").or("GSSAPI").list(&[], true).per_broker().refused("SASL")
        .doc("SASL mechanisms that clients may use."),
    string("sasl.mechanism.inter.broker.protocol").or("GSSAPI").per_broker().refused("SASL")
        .doc("SASL mechanism among brokers."),
    string("sasl.mechanism.controller.protocol").or("GSSAPI").high().refused("SASL")
        .doc("SASL mechanism towards controllers."),
    password("sasl.jaas.config").null().per_broker().refused("SASL")
        .doc("Login module and its options."),
    class("sasl.client.callback.handler.class").null().refused("SASL")
        .doc("Java class for client-side SASL callbacks."),
    class("sasl.server.callback.handler.class").null().refused("SASL")
        .doc("Java class for server-side SASL callbacks."),
    int("sasl.server.max.receive.size").or("524288").refused("SASL")
        .doc("Largest SASL message that is accepted."),
    class("sasl.login.callback.handler.class").null().refused("SASL")
        .doc("Java class for login callbacks."),
    class("sasl.login.class").null().refused("SASL")
        .doc("Java class that logs in."),
    int("sasl.login.connect.timeout.ms").null().low().refused("SASL")
        .doc("Connect timeout towards the identity provider."),
    int("sasl.login.read.timeout.ms").null().low().refused("SASL")
        .doc("Read timeout towards the identity provider."),
    short("sasl.login.refresh.buffer.seconds").or("300").per_broker().refused("SASL")
        .doc("Time before the expiry of a login in which it is refreshed in any case."),
    short("sasl.login.refresh.min.period.seconds").or("60").per_broker().refused("SASL")
        .doc("Shortest time before a login is refreshed."),
    double("sasl.login.refresh.window.factor").or("0.8").per_broker().refused("SASL")
        .doc("Share of a login's life after which it is refreshed."),
    double("sasl.login.refresh.window.jitter").or("0.05").per_broker().refused("SASL")
        .doc("Random share of a login's life added to that."),
    long("sasl.login.retry.backoff.ms").or("100").low().refused("SASL")
        .doc("First pause between two login attempts."),
    long("sasl.login.retry.backoff.max.ms").or("10000").low().refused("SASL")
        .doc("Longest pause between two login attempts."),
    string("sasl.kerberos.kinit.cmd").or("/usr/bin/kinit").per_broker().refused("Kerberos")
        .doc("Path of the kinit program."),
    long("sasl.kerberos.min.time.before.relogin").or("60000").per_broker().refused("Kerberos")
        .doc("Shortest time between two Kerberos logins."),
    list("sasl.kerberos.principal.to.local.rules").or("DEFAULT").list(&[], true).per_broker()
        .refused("Kerberos")
        .doc("Rules that shorten a Kerberos principal to a user name."),
    string("sasl.kerberos.service.name").null().per_broker().refused("Kerberos")
        .doc("Service part of the broker's Kerberos principal."),
    double("sasl.kerberos.ticket.renew.jitter").or("0.05").per_broker().refused("Kerberos")
        .doc("Random share added to the renewal time of a ticket."),
    double("sasl.kerberos.ticket.renew.window.factor").or("0.8").per_broker().refused("Kerberos")
        .doc("Share of a ticket's life after which it is renewed."),
    string("sasl.oauthbearer.assertion.algorithm").or("RS256").one_of_any_case(&["ES256", "RS256"])
        .refused("OAuth")
        .doc("Algorithm that signs the client assertion."),
    string("sasl.oauthbearer.assertion.claim.aud").null().refused("OAuth")
        .doc("Audience claim of the client assertion."),
    int("sasl.oauthbearer.assertion.claim.exp.seconds").or("300").between(0, 86_400).low()
        .refused("OAuth")
        .doc("Life of the client assertion."),
    string("sasl.oauthbearer.assertion.claim.iss").null().refused("OAuth")
        .doc("Issuer claim of the client assertion."),
    boolean("sasl.oauthbearer.assertion.claim.jti.include").or("false").refused("OAuth")
        .doc("Give each client assertion an id."),
    int("sasl.oauthbearer.assertion.claim.nbf.seconds").or("60").between(0, 3600).low()
        .refused("OAuth")
        .doc("How far in the past a client assertion begins to be valid."),
    string("sasl.oauthbearer.assertion.claim.sub").null().refused("OAuth")
        .doc("Subject claim of the client assertion."),
    string("sasl.oauthbearer.assertion.file").null().refused("OAuth")
        .doc("File with a ready client assertion."),
    string("sasl.oauthbearer.assertion.private.key.file").null().refused("OAuth")
        .doc("File with the key that signs the client assertion."),
    password("sasl.oauthbearer.assertion.private.key.passphrase").null().refused("OAuth")
        .doc("Passphrase of that key."),
    string("sasl.oauthbearer.assertion.template.file").null().refused("OAuth")
        .doc("File with fixed headers and claims of the client assertion."),
    string("sasl.oauthbearer.client.credentials.client.id").null().refused("OAuth")
        .doc("Client id for the identity provider."),
    password("sasl.oauthbearer.client.credentials.client.secret").null().refused("OAuth")
        .doc("Client secret for the identity provider."),
    int("sasl.oauthbearer.clock.skew.seconds").or("30").low().refused("OAuth")
        .doc("Tolerated difference between the clocks of broker and identity provider."),
    list("sasl.oauthbearer.expected.audience").or("").list(&[], true).high().refused("OAuth")
        .doc("Audiences that a token must name."),
    string("sasl.oauthbearer.expected.issuer").null().high().refused("OAuth")
        .doc("Issuer that a token must have."),
    long("sasl.oauthbearer.jwks.endpoint.refresh.ms").or("3600000").low().refused("OAuth")
        .doc("How often the identity provider's keys are read again."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms").or("100").low().refused("OAuth")
        .doc("First pause before those keys are asked for again."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms").or("10000").low().refused("OAuth")
        .doc("Longest pause before those keys are asked for again."),
    string("sasl.oauthbearer.jwks.endpoint.url").null().refused("OAuth")
        .doc("Where the identity provider's keys are found."),
    class("sasl.oauthbearer.jwt.retriever.class").or("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever")
        .refused("OAuth")
        .doc("Java class that fetches tokens."),
    class("sasl.oauthbearer.jwt.validator.class").or("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator")
        .refused("OAuth")
        .doc("Java class that checks tokens."),
    string("sasl.oauthbearer.scope").null().refused("OAuth")
        .doc("Scope that is asked for."),
    string("sasl.oauthbearer.scope.claim.name").or("scope").low().refused("OAuth")
        .doc("Claim that carries the scope."),
    string("sasl.oauthbearer.sub.claim.name").or("sub").low().refused("OAuth")
        .doc("Claim that carries the subject."),
    string("sasl.oauthbearer.token.endpoint.url").null().refused("OAuth")
        .doc("Where tokens are fetched."),
];
