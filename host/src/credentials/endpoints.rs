//! Where EKS, IAM and STS are, and for which region a request to them is
//! signed.
//!
//! No SDK of EKS or IAM is linked, so their endpoint rules are here as data:
//! partitions and names as botocore 1.44 resolves them. The rules give a name
//! even where AWS runs no such host; then the connection fails, as with every
//! SDK. Overrides, FIPS and dual stack come from the usual AWS variables; an
//! override excludes the other two, because a given endpoint cannot be turned
//! into another one.

use std::fmt;

use url::Url;

/// The services that the host talks to. A closed list: adding one is a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// `eks`
    Eks,
    /// `iam`
    Iam,
    /// `sts`; the host only, never a plugin
    Sts,
}

impl Service {
    /// The name used in signatures.
    pub fn name(self) -> &'static str {
        match self {
            Service::Eks => "eks",
            Service::Iam => "iam",
            Service::Sts => "sts",
        }
    }

    fn override_variable(self) -> &'static str {
        match self {
            Service::Eks => "AWS_ENDPOINT_URL_EKS",
            Service::Iam => "AWS_ENDPOINT_URL_IAM",
            Service::Sts => "AWS_ENDPOINT_URL_STS",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Service {
    type Err = String;

    fn from_str(name: &str) -> Result<Service, String> {
        match name {
            "eks" => Ok(Service::Eks),
            "iam" => Ok(Service::Iam),
            "sts" => Ok(Service::Sts),
            other => Err(format!("`{other}` is not a service of this host")),
        }
    }
}

/// A part of AWS with accounts, ARNs and names of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Partition {
    /// The second field of an ARN, `aws-us-gov`.
    pub name: &'static str,
    /// The region for which requests to IAM are signed.
    pub iam_region: &'static str,
    suffix: &'static str,
    dual_suffix: &'static str,
    /// IAM's host: standard, FIPS, dual stack, both.
    iam: [&'static str; 4],
}

static PARTITIONS: [Partition; 8] = [
    Partition {
        name: "aws",
        iam_region: "us-east-1",
        suffix: "amazonaws.com",
        dual_suffix: "api.aws",
        iam: [
            "iam.amazonaws.com",
            "iam-fips.amazonaws.com",
            "iam.global.api.aws",
            "iam-fips.global.api.aws",
        ],
    },
    Partition {
        name: "aws-cn",
        iam_region: "cn-north-1",
        suffix: "amazonaws.com.cn",
        dual_suffix: "api.amazonwebservices.com.cn",
        iam: [
            "iam.cn-north-1.amazonaws.com.cn",
            "iam-fips.amazonaws.com.cn",
            "iam.global.api.amazonwebservices.com.cn",
            "iam-fips.api.amazonwebservices.com.cn",
        ],
    },
    Partition {
        name: "aws-us-gov",
        iam_region: "us-gov-west-1",
        suffix: "amazonaws.com",
        dual_suffix: "api.aws",
        iam: [
            "iam.us-gov.amazonaws.com",
            "iam.us-gov.amazonaws.com",
            "iam.us-gov.api.aws",
            "iam.us-gov.api.aws",
        ],
    },
    Partition {
        name: "aws-iso",
        iam_region: "us-iso-east-1",
        suffix: "c2s.ic.gov",
        dual_suffix: "api.aws.ic.gov",
        iam: [
            "iam.us-iso-east-1.c2s.ic.gov",
            "iam-fips.us-iso-east-1.c2s.ic.gov",
            "iam.api.aws.ic.gov",
            "iam-fips.api.aws.ic.gov",
        ],
    },
    Partition {
        name: "aws-iso-b",
        iam_region: "us-isob-east-1",
        suffix: "sc2s.sgov.gov",
        dual_suffix: "api.aws.scloud",
        iam: [
            "iam.us-isob-east-1.sc2s.sgov.gov",
            "iam-fips.us-isob-east-1.sc2s.sgov.gov",
            "iam.api.aws.scloud",
            "iam-fips.api.aws.scloud",
        ],
    },
    Partition {
        name: "aws-iso-e",
        iam_region: "eu-isoe-west-1",
        suffix: "cloud.adc-e.uk",
        dual_suffix: "api.cloud-aws.adc-e.uk",
        iam: [
            "iam.eu-isoe-west-1.cloud.adc-e.uk",
            "iam-fips.cloud.adc-e.uk",
            "iam.api.cloud-aws.adc-e.uk",
            "iam-fips.api.cloud-aws.adc-e.uk",
        ],
    },
    Partition {
        name: "aws-iso-f",
        iam_region: "us-isof-south-1",
        suffix: "csp.hci.ic.gov",
        dual_suffix: "api.aws.hci.ic.gov",
        iam: [
            "iam.us-isof-south-1.csp.hci.ic.gov",
            "iam-fips.csp.hci.ic.gov",
            "iam.api.aws.hci.ic.gov",
            "iam-fips.api.aws.hci.ic.gov",
        ],
    },
    Partition {
        name: "aws-eusc",
        iam_region: "eusc-de-east-1",
        suffix: "amazonaws.eu",
        dual_suffix: "api.amazonwebservices.eu",
        iam: [
            "iam.eusc-de-east-1.amazonaws.eu",
            "iam-fips.amazonaws.eu",
            "iam.global.api.amazonwebservices.eu",
            "iam-fips.api.amazonwebservices.eu",
        ],
    },
];

/// The partition of `region`; an unknown region counts as `aws`.
pub fn partition(region: &str) -> &'static Partition {
    let name = match region.split_once('-') {
        Some(("cn", _)) => "aws-cn",
        Some(("eusc", _)) => "aws-eusc",
        Some(("us", rest)) if rest.starts_with("gov-") => "aws-us-gov",
        Some(("us", rest)) if rest.starts_with("iso-") => "aws-iso",
        Some(("us", rest)) if rest.starts_with("isob-") => "aws-iso-b",
        Some(("eu", rest)) if rest.starts_with("isoe-") => "aws-iso-e",
        Some(("us", rest)) if rest.starts_with("isof-") => "aws-iso-f",
        _ => "aws",
    };
    let [aws, ..] = &PARTITIONS;
    PARTITIONS.iter().find(|p| p.name == name).unwrap_or(aws)
}

/// An endpoint that cannot be used as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// A region that cannot be part of a host name.
    #[error("`{0}` is not the name of an AWS region, such as eu-west-1")]
    Region(String),
    /// An override that is no URL of a server.
    #[error(
        "{variable} is not an http or https URL of a server (without user, query and fragment)"
    )]
    Override {
        /// The environment variable. Its value may hold a password: not shown.
        variable: &'static str,
    },
    /// An override together with FIPS or dual stack.
    #[error(
        "{variable} names an endpoint and {flag} asks for another kind of it; unset one of the two"
    )]
    Contradiction {
        /// The variable with the endpoint.
        variable: &'static str,
        /// The variable with the flag.
        flag: &'static str,
    },
    /// A flag that is neither true nor false.
    #[error("{variable} is `{value}`; it must be true or false")]
    Flag {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
}

/// The endpoints of one region, as the environment asks for them.
#[derive(Debug, Clone)]
pub struct Endpoints {
    region: String,
    fips: bool,
    dual_stack: bool,
    overrides: [Option<Url>; 3],
}

impl Endpoints {
    /// The endpoints of `region` without overrides, FIPS and dual stack.
    ///
    /// # Errors
    /// When `region` cannot be a region's name.
    pub fn of_region(region: &str) -> Result<Endpoints, EndpointError> {
        Endpoints::from_env(region, |_| None)
    }

    /// The endpoints of `region` as the variables that `env` answers ask for
    /// them: `AWS_ENDPOINT_URL_EKS`, `_IAM`, `_STS`, `AWS_ENDPOINT_URL`,
    /// `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS`, `AWS_USE_FIPS_ENDPOINT`,
    /// `AWS_USE_DUALSTACK_ENDPOINT`.
    ///
    /// # Errors
    /// When a value makes no sense, or an override meets FIPS or dual stack.
    pub fn from_env(
        region: &str,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Endpoints, EndpointError> {
        check_region(region)?;
        let fips = flag(&env, "AWS_USE_FIPS_ENDPOINT")?;
        let dual_stack = flag(&env, "AWS_USE_DUALSTACK_ENDPOINT")?;
        let mut overrides = [None, None, None];
        if !flag(&env, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")? {
            for (slot, service) in
                overrides
                    .iter_mut()
                    .zip([Service::Eks, Service::Iam, Service::Sts])
            {
                let found = [service.override_variable(), "AWS_ENDPOINT_URL"]
                    .into_iter()
                    .find_map(|variable| Some((variable, given(&env, variable)?)));
                let Some((variable, value)) = found else {
                    continue;
                };
                for (on, flag) in [
                    (fips, "AWS_USE_FIPS_ENDPOINT"),
                    (dual_stack, "AWS_USE_DUALSTACK_ENDPOINT"),
                ] {
                    if on {
                        return Err(EndpointError::Contradiction { variable, flag });
                    }
                }
                *slot = Some(parse_override(variable, &value)?);
            }
        }
        Ok(Endpoints {
            region: region.to_owned(),
            fips,
            dual_stack,
            overrides,
        })
    }

    /// The same for another region.
    ///
    /// # Errors
    /// When `region` cannot be a region's name.
    pub fn in_region(&self, region: &str) -> Result<Endpoints, EndpointError> {
        check_region(region)?;
        Ok(Endpoints {
            region: region.to_owned(),
            ..self.clone()
        })
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The region's partition.
    pub fn partition(&self) -> &'static Partition {
        partition(&self.region)
    }

    /// The URL of `service`; its path ends with `/`.
    ///
    /// # Errors
    /// Never for a region that passed the constructor's check.
    pub fn url(&self, service: Service) -> Result<Url, EndpointError> {
        let [eks, iam, sts] = &self.overrides;
        let given = match service {
            Service::Eks => eks,
            Service::Iam => iam,
            Service::Sts => sts,
        };
        match given {
            Some(url) => Ok(url.clone()),
            None => {
                let host = host(service, &self.region, self.fips, self.dual_stack);
                Url::parse(&format!("https://{host}/"))
                    .map_err(|_| EndpointError::Region(self.region.clone()))
            }
        }
    }

    /// The region for which a request to `service` is signed.
    pub fn signing_region(&self, service: Service) -> &str {
        match service {
            Service::Iam => self.partition().iam_region,
            Service::Eks | Service::Sts => &self.region,
        }
    }

    /// The STS host inside an EKS token: always the region's standard one,
    /// because the cluster calls it, not we, and takes only AWS's own names.
    pub fn token_host(&self) -> String {
        host(Service::Sts, &self.region, false, false)
    }
}

/// The endpoint of one service; short for [`Endpoints::from_env`] and
/// [`Endpoints::url`].
///
/// # Errors
/// As these two.
pub fn endpoint(
    service: Service,
    region: &str,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Url, EndpointError> {
    Endpoints::from_env(region, env)?.url(service)
}

fn host(service: Service, region: &str, fips: bool, dual_stack: bool) -> String {
    let partition = partition(region);
    let gov = partition.name == "aws-us-gov";
    match (service, fips, dual_stack) {
        (Service::Iam, _, _) => {
            let [standard, with_fips, dual, both] = partition.iam;
            match (fips, dual_stack) {
                (false, false) => standard,
                (true, false) => with_fips,
                (false, true) => dual,
                (true, true) => both,
            }
            .to_owned()
        }
        // The standard hosts of GovCloud are its FIPS hosts.
        (_, true, false) if gov => format!("{service}.{region}.{}", partition.suffix),
        (Service::Eks, true, false) if partition.name == "aws" => {
            format!("fips.eks.{region}.{}", partition.suffix)
        }
        (_, false, false) => format!("{service}.{region}.{}", partition.suffix),
        (_, true, false) => format!("{service}-fips.{region}.{}", partition.suffix),
        (_, false, true) => format!("{service}.{region}.{}", partition.dual_suffix),
        (_, true, true) => format!("{service}-fips.{region}.{}", partition.dual_suffix),
    }
}

fn check_region(region: &str) -> Result<(), EndpointError> {
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = !region.is_empty()
        && region.len() <= 63
        && region.chars().all(label)
        && region.contains('-')
        && !region.starts_with('-')
        && !region.ends_with('-');
    if good {
        Ok(())
    } else {
        Err(EndpointError::Region(region.to_owned()))
    }
}

fn given(env: impl Fn(&str) -> Option<String>, variable: &str) -> Option<String> {
    env(variable).filter(|value| !value.trim().is_empty())
}

fn flag(
    env: impl Fn(&str) -> Option<String>,
    variable: &'static str,
) -> Result<bool, EndpointError> {
    match given(env, variable) {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
        Some(value) => Err(EndpointError::Flag { variable, value }),
    }
}

fn parse_override(variable: &'static str, value: &str) -> Result<Url, EndpointError> {
    let usable = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    match Url::parse(value) {
        Ok(mut url) if usable(&url) => {
            if !url.path().ends_with('/') {
                url.set_path(&format!("{}/", url.path()));
            }
            Ok(url)
        }
        _ => Err(EndpointError::Override { variable }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    /// Region, service, then standard, FIPS, dual stack, both: as botocore
    /// 1.44.5 resolves them.
    const TABLE: &str = "
us-east-1 eks eks.us-east-1.amazonaws.com fips.eks.us-east-1.amazonaws.com eks.us-east-1.api.aws eks-fips.us-east-1.api.aws
us-east-1 iam iam.amazonaws.com iam-fips.amazonaws.com iam.global.api.aws iam-fips.global.api.aws
us-east-1 sts sts.us-east-1.amazonaws.com sts-fips.us-east-1.amazonaws.com sts.us-east-1.api.aws sts-fips.us-east-1.api.aws
eu-west-1 eks eks.eu-west-1.amazonaws.com fips.eks.eu-west-1.amazonaws.com eks.eu-west-1.api.aws eks-fips.eu-west-1.api.aws
eu-west-1 iam iam.amazonaws.com iam-fips.amazonaws.com iam.global.api.aws iam-fips.global.api.aws
eu-west-1 sts sts.eu-west-1.amazonaws.com sts-fips.eu-west-1.amazonaws.com sts.eu-west-1.api.aws sts-fips.eu-west-1.api.aws
mx-central-1 eks eks.mx-central-1.amazonaws.com fips.eks.mx-central-1.amazonaws.com eks.mx-central-1.api.aws eks-fips.mx-central-1.api.aws
xx-nowhere-1 eks eks.xx-nowhere-1.amazonaws.com fips.eks.xx-nowhere-1.amazonaws.com eks.xx-nowhere-1.api.aws eks-fips.xx-nowhere-1.api.aws
us-gov-west-1 eks eks.us-gov-west-1.amazonaws.com eks.us-gov-west-1.amazonaws.com eks.us-gov-west-1.api.aws eks-fips.us-gov-west-1.api.aws
us-gov-west-1 iam iam.us-gov.amazonaws.com iam.us-gov.amazonaws.com iam.us-gov.api.aws iam.us-gov.api.aws
us-gov-west-1 sts sts.us-gov-west-1.amazonaws.com sts.us-gov-west-1.amazonaws.com sts.us-gov-west-1.api.aws sts-fips.us-gov-west-1.api.aws
us-gov-east-1 iam iam.us-gov.amazonaws.com iam.us-gov.amazonaws.com iam.us-gov.api.aws iam.us-gov.api.aws
cn-north-1 eks eks.cn-north-1.amazonaws.com.cn eks-fips.cn-north-1.amazonaws.com.cn eks.cn-north-1.api.amazonwebservices.com.cn eks-fips.cn-north-1.api.amazonwebservices.com.cn
cn-northwest-1 iam iam.cn-north-1.amazonaws.com.cn iam-fips.amazonaws.com.cn iam.global.api.amazonwebservices.com.cn iam-fips.api.amazonwebservices.com.cn
cn-northwest-1 sts sts.cn-northwest-1.amazonaws.com.cn sts-fips.cn-northwest-1.amazonaws.com.cn sts.cn-northwest-1.api.amazonwebservices.com.cn sts-fips.cn-northwest-1.api.amazonwebservices.com.cn
us-iso-east-1 eks eks.us-iso-east-1.c2s.ic.gov eks-fips.us-iso-east-1.c2s.ic.gov eks.us-iso-east-1.api.aws.ic.gov eks-fips.us-iso-east-1.api.aws.ic.gov
us-iso-east-1 iam iam.us-iso-east-1.c2s.ic.gov iam-fips.us-iso-east-1.c2s.ic.gov iam.api.aws.ic.gov iam-fips.api.aws.ic.gov
us-iso-east-1 sts sts.us-iso-east-1.c2s.ic.gov sts-fips.us-iso-east-1.c2s.ic.gov sts.us-iso-east-1.api.aws.ic.gov sts-fips.us-iso-east-1.api.aws.ic.gov
us-isob-east-1 eks eks.us-isob-east-1.sc2s.sgov.gov eks-fips.us-isob-east-1.sc2s.sgov.gov eks.us-isob-east-1.api.aws.scloud eks-fips.us-isob-east-1.api.aws.scloud
us-isob-east-1 iam iam.us-isob-east-1.sc2s.sgov.gov iam-fips.us-isob-east-1.sc2s.sgov.gov iam.api.aws.scloud iam-fips.api.aws.scloud
us-isob-east-1 sts sts.us-isob-east-1.sc2s.sgov.gov sts-fips.us-isob-east-1.sc2s.sgov.gov sts.us-isob-east-1.api.aws.scloud sts-fips.us-isob-east-1.api.aws.scloud
eu-isoe-west-1 eks eks.eu-isoe-west-1.cloud.adc-e.uk eks-fips.eu-isoe-west-1.cloud.adc-e.uk eks.eu-isoe-west-1.api.cloud-aws.adc-e.uk eks-fips.eu-isoe-west-1.api.cloud-aws.adc-e.uk
eu-isoe-west-1 iam iam.eu-isoe-west-1.cloud.adc-e.uk iam-fips.cloud.adc-e.uk iam.api.cloud-aws.adc-e.uk iam-fips.api.cloud-aws.adc-e.uk
eu-isoe-west-1 sts sts.eu-isoe-west-1.cloud.adc-e.uk sts-fips.eu-isoe-west-1.cloud.adc-e.uk sts.eu-isoe-west-1.api.cloud-aws.adc-e.uk sts-fips.eu-isoe-west-1.api.cloud-aws.adc-e.uk
us-isof-south-1 eks eks.us-isof-south-1.csp.hci.ic.gov eks-fips.us-isof-south-1.csp.hci.ic.gov eks.us-isof-south-1.api.aws.hci.ic.gov eks-fips.us-isof-south-1.api.aws.hci.ic.gov
us-isof-south-1 iam iam.us-isof-south-1.csp.hci.ic.gov iam-fips.csp.hci.ic.gov iam.api.aws.hci.ic.gov iam-fips.api.aws.hci.ic.gov
us-isof-south-1 sts sts.us-isof-south-1.csp.hci.ic.gov sts-fips.us-isof-south-1.csp.hci.ic.gov sts.us-isof-south-1.api.aws.hci.ic.gov sts-fips.us-isof-south-1.api.aws.hci.ic.gov
eusc-de-east-1 eks eks.eusc-de-east-1.amazonaws.eu eks-fips.eusc-de-east-1.amazonaws.eu eks.eusc-de-east-1.api.amazonwebservices.eu eks-fips.eusc-de-east-1.api.amazonwebservices.eu
eusc-de-east-1 iam iam.eusc-de-east-1.amazonaws.eu iam-fips.amazonaws.eu iam.global.api.amazonwebservices.eu iam-fips.api.amazonwebservices.eu
eusc-de-east-1 sts sts.eusc-de-east-1.amazonaws.eu sts-fips.eusc-de-east-1.amazonaws.eu sts.eusc-de-east-1.api.amazonwebservices.eu sts-fips.eusc-de-east-1.api.amazonwebservices.eu
";

    #[test]
    fn every_name_is_the_one_that_botocore_resolves() {
        let mut rows = 0;
        for line in TABLE.trim().lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let service: Service = fields[1].parse().unwrap();
            for (i, (fips, dual)) in [(0, 0), (1, 0), (0, 1), (1, 1)].into_iter().enumerate() {
                let word = |on| if on == 1 { "true" } else { "false" };
                let pairs = [
                    ("AWS_USE_FIPS_ENDPOINT", word(fips)),
                    ("AWS_USE_DUALSTACK_ENDPOINT", word(dual)),
                ];
                let url = endpoint(service, fields[0], env(&pairs)).unwrap();
                assert_eq!(url.as_str(), format!("https://{}/", fields[i + 2]));
            }
            rows += 1;
        }
        assert_eq!(rows, 30);
    }

    #[test]
    fn iam_is_signed_for_the_partitions_own_region() {
        for (region, partition, iam) in [
            ("eu-west-1", "aws", "us-east-1"),
            ("us-gov-east-1", "aws-us-gov", "us-gov-west-1"),
            ("cn-northwest-1", "aws-cn", "cn-north-1"),
            ("us-iso-west-1", "aws-iso", "us-iso-east-1"),
            ("us-isob-west-1", "aws-iso-b", "us-isob-east-1"),
            ("eu-isoe-west-1", "aws-iso-e", "eu-isoe-west-1"),
            ("us-isof-east-1", "aws-iso-f", "us-isof-south-1"),
            ("eusc-de-east-1", "aws-eusc", "eusc-de-east-1"),
            ("xx-nowhere-1", "aws", "us-east-1"),
        ] {
            let endpoints = Endpoints::of_region(region).unwrap();
            assert_eq!(endpoints.partition().name, partition);
            assert_eq!(endpoints.signing_region(Service::Iam), iam);
            assert_eq!(endpoints.signing_region(Service::Eks), region);
            assert_eq!(endpoints.signing_region(Service::Sts), region);
        }
    }

    #[test]
    fn overrides_apply_per_service_and_the_tokens_host_never_changes() {
        let pairs = [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
            ("AWS_ENDPOINT_URL_EKS", "https://vpce.example.com/base"),
        ];
        let endpoints = Endpoints::from_env("eu-west-1", env(&pairs)).unwrap();
        let url = |service| endpoints.url(service).unwrap().to_string();
        assert_eq!(url(Service::Eks), "https://vpce.example.com/base/");
        assert_eq!(url(Service::Iam), "http://127.0.0.1:4566/");
        assert_eq!(url(Service::Sts), "http://127.0.0.1:4566/");
        assert_eq!(endpoints.token_host(), "sts.eu-west-1.amazonaws.com");

        let ignoring = [pairs[0], ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")];
        let url = endpoint(Service::Sts, "cn-north-1", env(&ignoring)).unwrap();
        assert_eq!(url.as_str(), "https://sts.cn-north-1.amazonaws.com.cn/");
    }

    #[test]
    fn fips_does_not_change_the_tokens_host() {
        let pairs = [("AWS_USE_FIPS_ENDPOINT", "true")];
        let endpoints = Endpoints::from_env("us-east-1", env(&pairs)).unwrap();
        assert_eq!(endpoints.token_host(), "sts.us-east-1.amazonaws.com");
    }

    #[test]
    fn an_override_excludes_fips_and_dual_stack() {
        for flag in ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"] {
            let pairs = [
                ("AWS_ENDPOINT_URL_IAM", "http://127.0.0.1:1"),
                (flag, "true"),
            ];
            let error = Endpoints::from_env("us-east-1", env(&pairs)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "AWS_ENDPOINT_URL_IAM names an endpoint and {flag} asks for another kind of it; unset one of the two"
                )
            );
        }
    }

    #[test]
    fn values_that_make_no_sense_are_named() {
        for (pair, text) in [
            (("AWS_USE_FIPS_ENDPOINT", "yes"), "must be true or false"),
            (
                ("AWS_ENDPOINT_URL", "localhost:80"),
                "not an http or https URL",
            ),
            (
                ("AWS_ENDPOINT_URL_EKS", "http://u:p@h/"),
                "not an http or https URL",
            ),
            (
                ("AWS_ENDPOINT_URL_STS", "http://h/?a=b"),
                "not an http or https URL",
            ),
        ] {
            let error = Endpoints::from_env("us-east-1", env(&[pair])).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
            assert!(error.to_string().starts_with(pair.0), "{error}");
        }
        for region in [
            "",
            "us_east_1",
            "us-east-1.evil.example",
            "US-EAST-1",
            "a/b-c",
            "us",
        ] {
            assert_eq!(
                Endpoints::of_region(region).unwrap_err(),
                EndpointError::Region(region.to_owned())
            );
        }
    }
}
