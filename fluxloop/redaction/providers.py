"""
The table of secrets that providers issue in a fixed format.

The formats are public: providers document them, and the secret scanners gitleaks (``config/gitleaks.toml``) and
detect-secrets (``detect_secrets/plugins``) list them. The lengths are lower bounds, at or below the documented ones,
because providers make their secrets longer over time.
"""

from __future__ import annotations

from typing import NamedTuple


class Provider(NamedTuple):
    """The format of one secret: a prefix, then at least *least* characters of *alphabet*."""

    name: str
    prefix: str
    """A regular expression of limited length that has the same meaning in hyperscan and `re`."""
    alphabet: str
    least: int
    hint: str = ""
    """A simplified expression for the prefilter, if hyperscan needs one; it ends at or after the end of the prefix."""


_ALNUM = "[A-Za-z0-9]"
_WORD = "[A-Za-z0-9_-]"
_HEX = "[0-9a-f]"
_UNDER = "[A-Za-z0-9_]"
_UUID_REST = "[0-9a-f-]"

# fmt: off
PROVIDERS = (
    Provider("1Password", "ops_eyJ", _WORD, 40),
    Provider("1Password, account", "A3-[A-Z0-9]{6}-", "[A-Z0-9-]", 26),
    Provider("Adobe", "p8e-", _ALNUM, 32),
    Provider("age", "AGE-SECRET-KEY-1", _ALNUM, 40),
    Provider("Airtable", "pat[A-Za-z0-9]{14}[.]", _HEX, 40),
    Provider("Alchemy", "g[.]alchemy[.]com/v2/", _WORD, 20),
    Provider("Alibaba", "LTAI", _ALNUM, 16),
    Provider("Anyscale", "esecret_", _ALNUM, 20),
    Provider("Artifactory", "AKC[p0-9]", _ALNUM, 60),
    Provider("Artifactory, reference", "cmVmd", _ALNUM, 56),
    Provider("Asana", "[0-2]/[0-9]{13,20}[:/]", "[0-9a-f]", 32),
    Provider("Atlassian", "AT(?:ATT3|CTT3|BB|SCT)", "[A-Za-z0-9_=-]", 24),
    Provider("AWS", "A(?:KIA|SIA|BIA|CCA|3T[A-Z0-9])", "[A-Z0-9]", 16),
    Provider("AWS, Bedrock", "ABSK", "[A-Za-z0-9+/]", 60),
    Provider("Azure", "[A-Za-z0-9_~.]{3}[0-9]Q~", "[A-Za-z0-9_~.-]", 31, "[0-9]Q~"),
    Provider("Brevo", "xkeysib-", "[0-9A-Za-z-]", 60),
    Provider("Browserbase", "bb_(?:live|test)_", _WORD, 20),
    Provider("Buildkite", "bk(?:ua|aj|pi|cr)_", _ALNUM, 30),
    Provider("Cerebras", "csk-", _ALNUM, 30),
    Provider("CircleCI", "CCI(?:PAT|PRJ)_", _UNDER, 30),
    Provider("ClickHouse", "4b1d", _ALNUM, 38),
    Provider("ClickUp", "pk_[0-9]{6,10}_", "[A-Z0-9]", 30),
    Provider("Clojars", "CLOJARS_", _ALNUM, 50),
    Provider("Cloudflare", "v1[.]0-", "[0-9a-f-]", 100),
    Provider("Cockroach", "CCDB1_", _UNDER, 40),
    Provider("Confluent", "cflt", "[A-Za-z0-9+/]", 56),
    Provider("Contentful", "CFPAT-", _WORD, 40),
    Provider("Databricks", "dapi", _HEX, 32),
    Provider("Daytona", "dtn_", _HEX, 40),
    Provider("DeepL", "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}:f", "x", 1, "[0-9a-f]:fx"),
    Provider("DigitalOcean", "do[opr]_v1_", _ALNUM, 40),
    Provider("Discord, bot", "[MNO][A-Za-z0-9_-]{23,28}[.][A-Za-z0-9_-]{6}[.]", _WORD, 27, "[A-Za-z0-9_-]{12}[.][A-Za-z0-9_-]{6}[.][A-Za-z0-9_-]"),
    Provider("Discord, webhook", "discord(?:app)?[.]com/api/webhooks/", "[A-Za-z0-9_/-]", 20),
    Provider("Docker", "dck(?:r_pat|r_oat|_pat)_", _WORD, 20),
    Provider("Doppler", "dp[.](?:pt|st|ct|sa|scim|audit)[.]", "[A-Za-z0-9._-]", 38),
    Provider("Dropbox", "sl[.](?:u[.])?", _WORD, 60),
    Provider("Duffel", "duffel_(?:test|live)_", "[A-Za-z0-9_=-]", 40),
    Provider("Dynatrace", "dt0[a-z][0-9]{2}[.][A-Z0-9]{24}[.]", "[A-Z0-9]", 60),
    Provider("E2B", "e2b_", _HEX, 32),
    Provider("EasyPost", "EZ[AT]K", _ALNUM, 50),
    Provider("ElevenLabs", "sk_", _HEX, 40),
    Provider("Facebook", "EAA", _ALNUM, 50),
    Provider("Facebook, app", "[0-9]{14,16}[|]", _WORD, 27, "[0-9][|][A-Za-z0-9_-]{10}"),
    Provider("Figma", "fig[dour]_", _WORD, 36),
    Provider("Firebase", "AAAA[A-Za-z0-9_-]{7}:", _WORD, 100),
    Provider("Firecrawl", "fc-", _HEX, 32),
    Provider("Fireworks", "fw_", _ALNUM, 20),
    Provider("Flutterwave", "FLWSECK(?:_TEST)?-", _ALNUM, 12),
    Provider("Fly.io", "f(?:o1|m1[ar]|m2)_", "[A-Za-z0-9+/=_-]", 40),
    Provider("Frame.io", "fio-u-", _WORD, 50),
    Provider("GitHub", "gh[opsur]_", _ALNUM, 20),
    Provider("GitHub, fine-grained", "github_pat_", _UNDER, 20),
    Provider("GitLab", "gl(?:pat|dt|rt|ft|soat|cbt|imt|ptt|agent|oas|rtr|ffct|wt)-", "[A-Za-z0-9_.-]", 20),
    Provider("GitLab, runner", "GR1348941", _WORD, 20),
    Provider("Google", "AIza", _WORD, 30),
    Provider("Google, agent", "AQ[.]Ab", _WORD, 30),
    Provider("Google OAuth", "GOCSPX-", _WORD, 20),
    Provider("Google OAuth, access", "ya29[.]", "[A-Za-z0-9_.-]", 20),
    Provider("Google OAuth, refresh", "1//0", _WORD, 30),
    Provider("Google OAuth, code", "4/0A", _WORD, 30),
    Provider("Grafana", "gl(?:sa|c)_", "[A-Za-z0-9_+/=]", 30),
    Provider("Groq", "gsk_", _ALNUM, 20),
    Provider("HashiCorp Terraform", "[A-Za-z0-9]{14}[.]atlasv1[.]", "[A-Za-z0-9=_-]", 50, "[.]atlasv1[.]"),
    Provider("Heroku", "HRKU-", _WORD, 30),
    Provider("Honeycomb", "hc[abx][a-z]k_", _ALNUM, 50),
    Provider("HubSpot", "pat-(?:na|eu|ap|au|ca)[0-9]-", _UUID_REST, 32),
    Provider("Hugging Face", "(?:hf|api_org)_", _ALNUM, 30),
    Provider("Infracost", "ico-", _ALNUM, 32),
    Provider("Infura", "infura[.]io/v3/", _HEX, 32),
    Provider("Intra42", "s-s4t2(?:ud|af)-", _HEX, 60),
    Provider("Jina", "jina_", _WORD, 40),
    Provider("Klaviyo", "pk_", _HEX, 34),
    Provider("Kubernetes bootstrap", "K10", _HEX, 50),
    Provider("LangSmith", "lsv2_(?:pt|sk)_", _UNDER, 20),
    Provider("LaunchDarkly", "(?:sdk|api|mob)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-", "[0-9a-f-]", 17),
    Provider("Linear", "lin_(?:api|oauth)_", _ALNUM, 30),
    Provider("Lob", "(?:live|test)_", _HEX, 35),
    Provider("Logfire", "pylf_v[0-9]_[a-z]{2}_", _ALNUM, 40),
    Provider("Mailchimp", "[0-9a-f]{32}-us", "[0-9]", 1, "[0-9a-f]-us[0-9]"),
    Provider("Mailgun", "key-", "[0-9a-z]", 32),
    Provider("Mapbox", "[sp]k[.]eyJ[A-Za-z0-9_-]{20,120}[.]", _WORD, 20, "k[.]eyJ[A-Za-z0-9_-]+[.]"),
    Provider("Neon", "napi_", _ALNUM, 40),
    Provider("Netlify", "nf[pcobu]_", _ALNUM, 36),
    Provider("New Relic", "NR(?:AK|II|JS|BR|AL)-", "[A-Za-z0-9-]", 19),
    Provider("Notion", "ntn_", _ALNUM, 40),
    Provider("Notion, older", "secret_", _ALNUM, 40),
    Provider("npm", "npm_", _ALNUM, 30),
    Provider("NuGet", "oy2", "[a-z0-9]", 43),
    Provider("NVIDIA", "nvapi-", _WORD, 30),
    Provider("Octopus Deploy", "API-", "[A-Z0-9]", 26),
    Provider("Okta", "SSWS 00", _WORD, 38),
    Provider("OpenShift", "sha256~", _WORD, 40),
    Provider("Paddle", "pdl_(?:live|sdbx)_apikey_", _UNDER, 40),
    Provider("PayPal", "access_token[$](?:production|sandbox)[$]", "[0-9a-z$]", 30),
    Provider("Perplexity", "pplx-", _ALNUM, 30),
    Provider("Pinecone", "pcsk_", _UNDER, 30),
    Provider("Plaid", "access-(?:sandbox|development|production)-", _UUID_REST, 32),
    Provider("PlanetScale", "pscale_(?:tkn|oauth|pw)_", "[A-Za-z0-9_=.-]", 30),
    Provider("PostHog", "ph[xcs]_", _ALNUM, 32),
    Provider("Postman", "PMAK-", "[0-9a-f-]", 50),
    Provider("Prefect", "pn[ub]_", _ALNUM, 36),
    Provider("Pulumi", "pul-", _HEX, 40),
    Provider("PyPI", "pypi-", _WORD, 32),
    Provider("QuickNode", "quiknode[.]pro/", _HEX, 32),
    Provider("Rancher", "token-[a-z0-9]{5}:", "[a-z0-9]", 50),
    Provider("Razorpay", "rzp_(?:live|test)_", _ALNUM, 14),
    Provider("ReadMe", "rdme_", "[a-z0-9]", 60),
    Provider("Render", "rnd_", _ALNUM, 28),
    Provider("Replicate", "r8_", _ALNUM, 30),
    Provider("Resend", "re_[A-Za-z0-9]{6,10}_", _ALNUM, 18),
    Provider("RubyGems", "rubygems_", _HEX, 40),
    Provider("Scalingo", "tk-us-", _WORD, 40),
    Provider("Sentry", "sntry[su]_", "[A-Za-z0-9+/=_]", 40),
    Provider("Settlemint", "sm_[aps]at_", _ALNUM, 16),
    Provider("Shippo", "shippo_(?:live|test)_", "[0-9a-fA-F]", 40),
    Provider("Shopify", "shp(?:at|ca|pa|ss|it)_", "[0-9a-fA-F]", 32),
    Provider("Slack", "xox[abceoprs](?:[.]xox[bp])?-", "[A-Za-z0-9-]", 10),
    Provider("Slack, app", "xapp-", "[A-Za-z0-9-]", 20),
    Provider("Slack, webhook", "hooks[.]slack[.]com/(?:services|workflows|triggers)/", "[A-Za-z0-9/_-]", 20),
    Provider("Snyk", "snyk_(?:uat|sat)[.][0-9a-f]{8}[.]", "[A-Za-z0-9._-]", 30),
    Provider("SonarQube", "sq[uap]_", _HEX, 40),
    Provider("Sourcegraph", "sgp_(?:[0-9a-fA-F]{16}_|local_)?", "[0-9a-fA-F]", 40),
    Provider("Square", "(?:EAAA|sq0[a-z]{3}-)", _WORD, 22),
    Provider("Statsig", "secret-", _ALNUM, 40),
    Provider("Stripe", "[rs]k_(?:live|test|prod)_", _ALNUM, 10),
    Provider("Stripe, webhook", "whsec_", "[A-Za-z0-9+/=]", 20),
    Provider("Supabase", "sb(?:p|_secret)_", _WORD, 20),
    Provider("Tailscale", "tskey-", "[A-Za-z0-9-]", 20),
    Provider("Tavily", "tvly-", _WORD, 16),
    Provider("Teams, webhook", "webhook[.]office[.]com/webhookb2/", "[A-Za-z0-9@/-]", 40),
    Provider("Telegram", "(?:bot)?[0-9]{8,10}:A", _WORD, 32, "[0-9]{8}:A[A-Za-z0-9_-]{10}"),
    Provider("Together", "tgp_v1_", _WORD, 40),
    Provider("Twilio", "SK", _HEX, 32),
    Provider("Typeform", "tfp_", "[A-Za-z0-9_.=-]", 40),
    Provider("Vault", "hv[srb][.]", _WORD, 20),
    Provider("Vercel", "vc[pkirag]_", _ALNUM, 24),
    Provider("Voyage", "pa-", _UNDER, 24),
    Provider("Weights & Biases", "wandb_v1_", _UNDER, 30),
    Provider("X", "A{20}[A-Za-z0-9]{4,60}%[23]", "[A-Za-z0-9%]", 40),
    Provider("xAI", "xai-", _ALNUM, 20),
    Provider("Yandex", "AQVN", _WORD, 35),
    Provider("Zuplo", "zpka_", _UNDER, 40),
    Provider("Zapier, webhook", "hooks[.]zapier[.]com/hooks/catch/", "[A-Za-z0-9/]", 8),
)
# fmt: on
"""The least length of each row excludes ordinary words."""
