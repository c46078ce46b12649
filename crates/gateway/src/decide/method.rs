//! What a path is: a call with one request message, a stream, or none of ours.
//!
//! Bodies are not decoded, so the path is all there is to go by. The one table is here, and a test
//! holds it against the descriptors of `pannier.v1`.
//!
//! M1  a request that is one message can be kept and sent again; a stream of them cannot;
//! M2  a response that is one message is held until its status is known, since a call that failed
//!     may be tried elsewhere; a stream of them is passed on as it comes;
//! M3  what is not in the table is not passed on. The inner services of a replica (Admin, Backups,
//!     Replication) are not public; that a replica happened to serve them on its public listener
//!     must not be enough to reach them from outside.

/// How the messages of a method go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One message each way.
    Unary,
    /// One message there, a stream back.
    Watch,
    /// Streams both ways.
    Stream,
}

impl Shape {
    /// M1.
    pub const fn replayable(self) -> bool {
        matches!(self, Self::Unary | Self::Watch)
    }
}

/// What is done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// It goes to a replica.
    Pass(Shape),
    /// The gateway answers for itself.
    Health,
    /// UNIMPLEMENTED.
    Unknown,
}

/// Services that go to a replica.
const SERVICES: [&str; 9] = [
    "pannier.v1.Carts",
    "pannier.v1.Sets",
    "pannier.v1.Counters",
    "pannier.v1.Stocks",
    "pannier.v1.Checkouts",
    "pannier.v1.Executor",
    "pannier.v1.Watcher",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Their methods that are not unary.
const STREAMS: [(&str, Shape); 4] = [
    ("/pannier.v1.Executor/Execute", Shape::Stream),
    ("/pannier.v1.Watcher/Watch", Shape::Watch),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Shape::Stream),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Shape::Stream),
];

const HEALTH: &str = "grpc.health.v1.Health";

impl Method {
    /// By the path of a request, `/package.Service/Method`.
    pub fn of(path: &str) -> Self {
        let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        match parts {
            Some((HEALTH, _)) => Self::Health,
            Some((service, _)) if SERVICES.contains(&service) => {
                let stream = STREAMS.iter().find(|(known, _)| *known == path);
                Self::Pass(stream.map_or(Shape::Unary, |(_, shape)| *shape))
            }
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use prost_types::FileDescriptorSet;

    /// M3.
    const INNER: [&str; 3] = ["pannier.v1.Admin", "pannier.v1.Backups", "pannier.v1.Replication"];

    /// Of every method of our package: its path, and its shape as the descriptors say.
    fn described() -> Vec<(String, Shape)> {
        let set = FileDescriptorSet::decode(pannier_proto::v1::DESCRIPTORS).unwrap();
        let files = set.file.iter().filter(|file| file.package() == "pannier.v1");
        let services = files.flat_map(|file| &file.service);
        let methods = services.flat_map(|service| {
            service.method.iter().map(move |method| {
                let path = format!("/pannier.v1.{}/{}", service.name(), method.name());
                let shape = match (method.client_streaming(), method.server_streaming()) {
                    (false, false) => Shape::Unary,
                    (false, true) => Shape::Watch,
                    (true, _) => Shape::Stream,
                };
                (path, shape)
            })
        });
        methods.collect()
    }

    #[test]
    fn the_table_says_what_the_descriptors_say() {
        let described = described();
        assert!(described.len() > 20, "{described:?}");
        for (path, shape) in &described {
            let inner = INNER.iter().any(|inner| path.starts_with(&format!("/{inner}/")));
            let want = if inner { Method::Unknown } else { Method::Pass(*shape) };
            assert_eq!(Method::of(path), want, "{path}");
        }
        let paths: Vec<&str> = described.iter().map(|(path, _)| path.as_str()).collect();
        let ours = STREAMS.iter().filter(|(path, _)| path.starts_with("/pannier."));
        ours.for_each(|(path, _)| assert!(paths.contains(path), "{path} is gone"));
        let services = SERVICES.iter().filter(|service| service.starts_with("pannier."));
        services.for_each(|service| {
            assert!(
                paths.iter().any(|path| path.starts_with(&format!("/{service}/"))),
                "{service}"
            );
        });
    }

    #[test]
    fn paths_that_are_not_ours() {
        let table = [
            ("/grpc.health.v1.Health/Check", Method::Health),
            ("/grpc.health.v1.Health/Watch", Method::Health),
            ("/pannier.v1.Carts/OfTomorrow", Method::Pass(Shape::Unary)),
            ("/pannier.v1.Admin/GetStatus", Method::Unknown),
            ("/pannier.v1.Replication/Link", Method::Unknown),
            ("/pannier.v1.Backups/TakeBackup", Method::Unknown),
            ("/pannier.v1.Executor/Execute/", Method::Pass(Shape::Unary)),
            ("/pannier.v1.Carts", Method::Unknown),
            ("//pannier.v1.Carts/Add", Method::Unknown),
            ("pannier.v1.Carts/Add", Method::Unknown),
            ("/", Method::Unknown),
            ("", Method::Unknown),
            ("*", Method::Unknown),
        ];
        for (path, want) in table {
            assert_eq!(Method::of(path), want, "{path}");
        }
    }
}
