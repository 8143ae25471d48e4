"""
Generated texts and values with a secret of a real shape in them, and innocent ones that resemble them.

Every secret is random; its format follows the table of providers and the shapes in which secrets reach logs. The seed is
printed by the tests and can be given as ``FLUXLOOP_SEED``.
"""

from __future__ import annotations

import base64
import html
import json
import re
import string
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from fluxloop.redaction.providers import PROVIDERS

ALNUM = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Case:
    """A value to record, the secret in it, and the name of its shape."""

    shape: str
    value: Any
    secret: str


def drawn(pattern: str, dice: Random) -> str:
    """Return a random text that matches *pattern*, a regular expression of literals, sets, groups and repeats."""
    return _drawn(re._parser.parse(pattern), dice)  # type: ignore[attr-defined]


def _drawn(parsed: Any, dice: Random) -> str:
    parts = []
    for operation, argument in parsed:
        name = str(operation)
        if name == "LITERAL":
            parts.append(chr(argument))
        elif name == "IN":
            parts.append(dice.choice(_members(argument)))
        elif name == "BRANCH":
            parts.append(_drawn(dice.choice(argument[1]), dice))
        elif name == "SUBPATTERN":
            parts.append(_drawn(argument[3], dice))
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, inner = argument
            parts += [_drawn(inner, dice) for _ in range(dice.randint(least, min(most, least + 3)))]
        else:
            raise ValueError(f"cannot draw from {name}")
    return "".join(parts)


def _members(items: Any) -> str:
    members = []
    for operation, argument in items:
        if str(operation) == "LITERAL":
            members.append(chr(argument))
        else:  # RANGE
            members += map(chr, range(argument[0], argument[1] + 1))
    return "".join(members)


def opaque(dice: Random, length: int = 32) -> str:
    """Return a random key with letters and digits."""
    return "".join(dice.choices(ALNUM, k=length - 2)) + dice.choice(string.ascii_lowercase) + dice.choice(string.digits)


def password(dice: Random) -> str:
    """Return a password as people make them."""
    words = ["Sommer", "tiger", "Dragon", "monkeys", "sunshine", "Winter", "horse", "staple"]
    return (
        dice.choice(words) + dice.choice("_-.!") * dice.randint(0, 1) + dice.choice(words) + str(dice.randint(10, 9999))
    )


KEYS = (
    "password", "passwd", "api_key", "apiKey", "API_KEY", "X-Api-Key", "client_secret", "clientSecret", "access_token",
    "accessToken", "refresh_token", "auth_token", "secret", "secret_key", "SECRET_KEY", "private_key", "db_password",
    "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "aws_session_token", "passphrase", "openai_api_key", "webhook_secret", "jwt",
    "signing_key", "encryption_key", "bot_token", "credentials", "smtp_pass", "OPENAI_KEY", "pgpassword",
)  # fmt: skip


def _named(shape: str, template: str) -> Callable[[Random], Case]:
    """A text in which a secret follows its name; ``{k}`` is the name, ``{s}`` the secret, ``{w}`` another word."""

    def make(dice: Random) -> Case:
        secret = dice.choice((opaque, lambda dice: opaque(dice, dice.randint(10, 60)), password))(dice)
        text = template.replace("{k}", dice.choice(KEYS)).replace("{w}", dice.choice(("ann", "prod", "x1")))
        return Case(f"{shape}: {template}", text.replace("{s}", secret), secret)

    return make


NAMED_TEXTS = (
    "{k}={s}", "export {k}={s}", "{k}='{s}'", '{k}="{s}"', "{k} = {s}", '{k} = "{s}"', "{k}: {s}", "{k}: '{s}'",
    "PATH=/usr/bin\n{k}={s}\nHOME=/home/ann", "[default]\nregion = eu\n{k} = {s}\n", "db:\n  user: {w}\n  {k}: {s}\n",
    "- name: {w}\n  {k}: \"{s}\"\n", '{"user": "{w}", "{k}": "{s}"}', "{'user': '{w}', '{k}': '{s}'}",
    '{"body": "{\\"{k}\\": \\"{s}\\"}"}', "Config(user='{w}', {k}='{s}', retries=3)", "connect({k}='{s}')",
    "https://example.com/v1/items?page=2&{k}={s}&sort=asc", "https://example.com/?{k}={s}", "{w}={w}&{k}={s}",
    "GET /search?q=cats&{k}={s} HTTP/1.1\r\nHost: example.com", "{k}%3D{s}", "q%3Dcats%26{k}%3D{s}%26page%3D2",
    "%7B%22{k}%22%3A%22{s}%22%7D", "{k}%253D{s}", "&quot;{k}&quot;:&quot;{s}&quot;", "{k}&#61;{s}", "{k}&#x3D;{s}&amp;x=1",
    "\\u0022{k}\\u0022:\\u0022{s}\\u0022", "<{k}>{s}</{k}>", "<a:{k} xml:space=\"preserve\">{s}</a:{k}>",
    "<config><{k}>\n  {s}\n</{k}></config>", '<add key="{k}" value="{s}" />', '<property name="{k}" value="{s}"/>',
    '<entry key="{k}">{s}</entry>', "<key>{k}</key>\n<string>{s}</string>", "&lt;{k}&gt;{s}&lt;/{k}&gt;",
    '<input type="hidden" name="{k}" value="{s}">', "<{k}><![CDATA[{s}]]></{k}>", "('{k}', '{s}')", '["{k}", "{s}"]',
    "[('accept', '*/*'), ('{k}', '{s}')]", "KeyError: {'{k}': '{s}'}", "ValueError: bad {k}: {s}", "{k} := {s}",
    "{k} => '{s}'", 'os.environ["{k}"] = "{s}"', "environ({'{k}': '{s}'})", "Error: invalid {k} provided: {s}",
    '  File "app.py", line 3, in connect\n    connect("{w}", {k}="{s}")\nConnectionError: refused',
    "set {k}={s}", "$env:{k}='{s}'", "--from-literal={k}={s}", "-e {k}={s}", "-D{k}={s}", "Server=db;User Id={w};{k}={s};",
    '{k}: str = "{s}"', "{k}: Final[str] = '{s}'", 'const {k}: &str = "{s}";', "let {k}: String = \"{s}\"", "{k} = b'{s}'",
    "{k}=r'{s}'", 'var {k} = @"{s}";', '{k} = """{s}"""', "{k}: `{s}`", "[(b'{k}', b'{s}')]", 'variable "{k}" {\n  default = "{s}"\n}',
    'curl -X POST -d "{w}=1&{k}={s}" https://example.com', "curl -F {k}={s} https://example.com", '{k}="{s}',
)  # fmt: skip
"""Texts with a secret beside its name."""

FIXED_TEXTS = (
    "tool --api-key {s} --verbose", "tool --password {s}", "tool --token '{s}' run", "deploy --client-secret \"{s}\"",
    "['tool', '--api-key', '{s}', '-v']", "mysql -u root -p{s} shop", "mysqldump --all -p'{s}'", "sshpass -p {s} ssh ann@h",
    "redis-cli -h localhost -a {s} ping", "docker login -u ann -p {s} registry.example.com", "PGPASSWORD={s} psql -h db",
    "curl -u ann:{s} https://example.com", 'curl --user "ann:{s}" https://example.com', "ldapsearch -x -D cn=a -w {s}",
    "curl -H 'Authorization: Bearer {s}' https://example.com", 'curl -H "X-Api-Key: {s}" https://example.com',
    "curl -b 'sid={s}' https://example.com", "openssl rsa -passin pass:{s} -in key.pem", "smbclient -U ann%{s} //h/share",
    "machine example.com login ann password {s}", "machine example.com\n  login ann\n  password {s}\n",
    "default login ann password {s}", "CREATE USER ann IDENTIFIED BY '{s}'", "ALTER ROLE ann WITH PASSWORD '{s}'",
    "postgres://ann:{s}@db:5432/shop", "mysql+pymysql://ann:{s}@db/shop", "redis://:{s}@cache:6379/0", "amqp://a:{s}@mq/",
    "mongodb+srv://ann:{s}@cluster0.example.net/?retryWrites=true", "https://ann:{s}@example.com/x.git", "ftp://a:{s}@h",
    "https%3A%2F%2Fann%3A{s}%40example.com%2Fx", "jdbc:oracle:thin:ann/{s}@db:1521:x",
    "jdbc:postgresql://db/shop?user=ann&password={s}", "Authorization: Bearer {s}", "authorization: token {s}",
    "Authorization: Bot {s}", "Proxy-Authorization: Bearer {s}", "'Authorization': 'Bearer {s}'", "Bearer {s}",
    "headers={'Authorization': 'Bearer {s}'}", "Authorization%3A%20Bearer%20{s}", "Cookie: theme=dark; sid={s}",
    "Set-Cookie: session={s}; HttpOnly; Path=/", "X-Auth-Token: {s}", "x-goog-api-key: {s}", "Api-Key: {s}",
    "https://example.com/f?sv=2024&sig={s}", "https://example.com/f?X-Amz-Signature={s}&x=1", "https://m.example.com/?key={s}",
    "https://example.com/cb?code={s}&state=x", "https://example.com/a?Signature={s}&Expires=1", "AccountKey={s};Endpoint=x",
    "SharedAccessKey={s};EntityPath=q", "Endpoint=sb://x/;SharedAccessKeyName=root;SharedAccessKey={s}",
    "401 Unauthorized: Incorrect API key provided: {s}. You can find your key online.", "PHPSESSID={s}",
    "secret: |\n  {s}\nuser: ann", "private_token: >-\n  {s}\n", "passwords:\n  - {s}\n  - {s}\n", "[smtp]\nuser=ann\npass={s}\n",
    "http -a ann:{s} https://example.com", "zip -P {s} x.zip a", "keytool -list -storepass {s} -v", "lftp -u ann,{s} example.com",
    "snmpwalk -v3 -u ann -A {s} h", "sqlplus ann/{s}@//db:1521/X", "net use Z: //h/s /user:ann {s}", "echo 'root:{s}' | chpasswd",
    "echo {s} | docker login --password-stdin -u ann", 'echo "{s}" | gh auth login --with-token', "x IDENTIFIED BY {s};",
    "SET PASSWORD FOR ann = PASSWORD('{s}')", "storePassword '{s}'", "ansible_become_pass: {s}", "user=ann&pw={s}",
    "https://{s}@example.com/x.git", "git clone https://oauth2:{s}@example.com/x.git", "ENV SECRET_KEY {s}=",
)[:-1]  # fmt: skip
"""Texts with a secret that their surroundings announce."""


def _fixed(template: str) -> Callable[[Random], Case]:
    def make(dice: Random) -> Case:
        secret = opaque(dice, dice.randint(20, 44))
        return Case(template, template.replace("{s}", secret), secret)

    return make


def _provider(provider: Any) -> Callable[[Random], Case]:
    def make(dice: Random) -> Case:
        body = drawn(f"{provider.alphabet}{{{provider.least},{provider.least + 3}}}", dice)
        secret = drawn(provider.prefix, dice) + body
        text = dice.choice(
            ("use {s} please", "({s})", '{"a": "{s}"}', "key={s}&x=1", "x\n{s}\ny", "'{s}'", "/{s}/", "{s}")
        )
        return Case(f"provider {provider.name}", text.replace("{s}", secret), secret)

    return make


def _values(dice: Random) -> Iterator[Case]:
    """Values other than texts."""
    for key in KEYS:
        secret = opaque(dice, dice.randint(8, 50))
        yield Case(f"mapping {key}", {"user": "ann", "settings": {key: secret}}, secret)
    secret = opaque(dice)
    yield Case("list under a key", {"api_keys": ["x", secret]}, secret)
    yield Case("pairs", [["accept", "*/*"], ["authorization", secret]], secret)
    yield Case(
        "pairs of bytes",
        [["<bytes 6: accept>", "x"], ["<bytes 9: x-api-key>", f"<bytes {len(secret)}: {secret}>"]],
        secret,
    )
    yield Case("pairs of a name that is rarely secret", [["X-Figma-Token", secret], ["accept", "*/*"]], secret)
    yield Case("table", {"columns": ["user", "password"], "data": [["ann", secret], ["bob", "x"]]}, secret)
    yield Case("lone pair", ("api_key", secret), secret)
    yield Case("lone pair in a text", f"headers = ('api_key', '{secret}')", secret)
    yield Case("lone pair in a text, of a name that is rarely secret", f'x["my_token", "{secret}"]', secret)
    yield Case("lone pair in a mapping", {"auth": ["X-Api-Key", secret]}, secret)
    yield Case("name and value", [{"name": "x-api-key", "value": secret}], secret)
    yield Case("name, type and value", [{"name": "db_password", "type": "string", "value": secret}], secret)
    yield Case("value and name", [{"value": secret, "name": "DB_PASSWORD"}], secret)
    yield Case("arguments of a process", ["tool", "--api-key", secret, "run"], secret)
    yield Case("arguments of a process, short", ["tool", "-password", secret], secret)
    yield Case("number", {"password": int("9" + "".join(dice.choices(string.digits, k=9)))}, "")
    yield Case("token", {"token": opaque(dice, 24)}, "")
    yield Case("JSON in a text", {"arguments": json.dumps({"password": secret, "n": 1})}, secret)
    yield Case("JSON in JSON in a text", {"a": json.dumps({"b": json.dumps({"password": secret})})}, secret)
    yield Case(
        "query in JSON",
        {"url": "https://x.example/?" + urllib.parse.urlencode({"q": "a b", "api_key": secret})},
        secret,
    )
    yield Case("percent-encoded JSON", {"u": urllib.parse.quote(json.dumps({"password": secret}))}, secret)
    yield Case("escaped HTML", html.escape(f'<input name="password" value="{secret}">'), secret)
    basic = base64.b64encode(f"ann:{secret}".encode()).decode()
    yield Case("basic authorization", f"Authorization: Basic {basic}", basic)
    yield Case("basic authorization in a mapping", {"authorization": f"Basic {basic}"}, basic)
    for kind in ("RSA ", "EC ", "OPENSSH ", "", "ENCRYPTED ", "PGP "):
        lines = [base64.b64encode(dice.randbytes(48)).decode() for _ in range(5)]
        block = " BLOCK" if kind == "PGP " else ""
        head, tail = (f"-----{word} {kind}PRIVATE KEY{block}-----" for word in ("BEGIN", "END"))
        pem = "\n".join((head, *lines, tail))
        yield Case(f"PEM {kind}", f"key:\n{pem}\n", lines[2])
        yield Case(f"PEM {kind} on one line", pem.replace("\n", "\\n"), lines[2])
        yield Case(f"PEM {kind} cut off", pem[: pem.index(lines[4])], lines[2])
        yield Case(f"PEM {kind} percent-encoded", urllib.parse.quote(pem), urllib.parse.quote(lines[2]))
    parts = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', dice.randbytes(60))]
    token = f"{parts[0]}.eyJ{parts[1]}.{opaque(dice, 43)}"
    for text in ("{s}", "got {s}.", '{"t": "{s}"}', "id {s},", "https://x.example/#/{s}"):
        yield Case(f"JWT {text}", text.replace("{s}", token), token)
    for prefix in ("sk-", "sk-proj-", "sk-ant-api03-", "sk-or-v1-", "sk-svcacct-"):
        token = prefix + opaque(dice, 48)
        yield Case(f"{prefix}…", f"Using {token}.", token)
    token = f"SG.{opaque(dice, 22)}.{opaque(dice, 43)}"
    yield Case("SendGrid", token, token)


def secrets(seed: int) -> list[Case]:
    """Return cases with one secret each."""
    dice = Random(seed)
    makers = [_named("text", template) for template in NAMED_TEXTS for _ in range(4)]
    makers += [_fixed(template) for template in FIXED_TEXTS for _ in range(2)]
    makers += [_provider(provider) for provider in PROVIDERS]
    return [*(make(dice) for make in makers), *_values(dice)]


CODE = """
token = tokenizer.encode(text)[0]
tokens = tokenizer.encode(text)
next_token = sample(logits[:, -1])
token = tokens[i]
token = next(stream)
token: str = tokenizer.decode([token_id])
token = response.json()["access_token"]
password = getpass.getpass()
password = getpass("Password: ")
password = form.cleaned_data["password"]
password = form.password
password = request.POST.get("password")
api_key = os.environ["OPENAI_API_KEY"]
api_key = os.getenv("OPENAI_API_KEY")
api_key = settings.OPENAI_API_KEY
api_key=api_key
client = OpenAI(api_key=api_key)
client = Client(api_key=settings.api_key, timeout=30)
self.api_key = api_key
self._password = password
secret = client.get_secret(name)
secret_key = config["SECRET_KEY"]
if password == confirm_password:
if not password:
assert token == expected_token
def login(username: str, password: str) -> Token:
def f(api_key: str | None = None) -> None: ...
api_key: Optional[str] = None
password: SecretStr
password: str = Field(min_length=8)
auth_token: Annotated[str, Header()]
class TokenAuth(AuthBase):
hashed = bcrypt.hashpw(password.encode(), salt)
user.set_password(raw_password)
raise ValueError("password too short")
parser.add_argument("--api-key", help="key of the API")
parser.add_argument("--password", required=True)
const token = await getToken();
const { password, ...rest } = user;
let apiKey = process.env.API_KEY;
if (!token) return null;
String password = null;
public string Password { get; set; }
headers["Authorization"] = "Bearer " + token
const headers = { Authorization: `Bearer ${accessToken}` };
const url = `https://example.com?api_key=${apiKey}`;
fetch(url, {credentials: 'same-origin'})
credentials=creds
api_key = "sk-..."
api_key=sk-...
password=***REDACTED***
storage_key = "theme"
password: str = Depends(get_password)
api_key: str = ""
secrets: inherit
7z a -p archive.7z
zip -r out.zip dir
echo $TOKEN | docker login --password-stdin
http localhost:8000/items
variable "db_password" { type = string }
set_password('new password')
passwords:\n  - at least 8 characters
SELECT id, password FROM users WHERE name = ?
ALTER TABLE users ADD COLUMN password VARCHAR(255)
ALTER TABLE users DROP COLUMN api_key
export OPENAI_API_KEY=<your key>
export API_KEY=$(cat key.txt)
OPENAI_API_KEY=${OPENAI_API_KEY}
api_key: ${{ secrets.API_KEY }}
password: {{ vault_password }}
password = "********"
password=****
api_key = "YOUR_API_KEY"
api_key="your-api-key-here"
"api_key": "<API_KEY>"
token: ${TOKEN}
curl -H "Authorization: Bearer $TOKEN" https://example.com
curl -u $USER:$PASSWORD https://example.com
curl -X POST https://example.com/login
mysql -u root -p shop
mysql -u <user> -p <password> then connect
docker run -p 8080:80 -it image
docker login
ssh -p 2222 ann@host
git commit -m "rotate password"
git push -u origin main
tar -xzf archive.tar.gz -C /tmp
psql -h localhost -U postgres -d shop
kubectl get secret db-credentials -o yaml
pip install --user tokenizers
Usage: tool [--api-key KEY] [--password PASSWORD]
  --token TOKEN     the token to use
  --password        ask for the password
use the --password option to be asked
pass --api-key or set the environment variable
machine vision password managers
""".strip().splitlines()

PROSE = """
Your password must be 8 characters or longer.
password must be 8 characters
Password: must be at least 8 characters
password: required
Passwords do not match.
Enter your password:
Forgot your password? Reset it here.
The password is stored as a hash.
The secret: be kind to yourself.
The secret of good bread: time, salt and heat.
The secret ingredient is love.
It isn't a secret that tea is better.
A token is a word or a part of a word.
token: the smallest unit of text
Each token costs 0.002 cents.
max_tokens: 100
max_tokens=4096
total_tokens: 12345, prompt_tokens: 12000
"max_tokens": 1024
token_count=123456789
tokens per second: 132.5
An API key identifies the calling program.
API keys: how to create one
The key point: rainfall drives the harvest.
The key to success = practice
Press any key to continue
key: value
primary key: id
public_key: shown to everybody
cookie: chocolate
Cookie policy: we use cookies to improve the site
Cookies: flour, butter, sugar
authorization: none required
Authorization: required for all endpoints
authorization granted
Basic understanding of Python is enough.
Bearer authentication is described in RFC 6750.
the bearer of bad news
Bearer tokens: see the chapter on security
Authorization header: must start with Bearer
jwt: JSON web token
credentials: see the manual
Credential: a certificate or a diploma
two-factor authentication and session tokens
The session was signed by the secretary.
passenger: Ann Example
Secretary: Bob Example
The monkey passed the test.
sk-image is not scikit-image
risk-averse and task-based, disk-bound
https://example.com/blog/how-to-choose-a-good-password
https://example.com/?q=password+reset
https://example.com/search?key=name&sort=asc
https://example.com/item?code=404
https://example.com/?token=none&page=2
https://user@example.com/path
ann@example.com wrote to bob@example.org
http://localhost:8080/health
redis://localhost:6379/0
postgres://localhost/shop
s3://bucket/folder/key=value/part-0001.parquet
file:///home/ann/password.txt
C:\\Users\\ann\\passwords.xlsx
PWD=/home/ann
OLDPWD=/var/log
PASSWORD_HASHERS = default
AUTH_USER_MODEL = accounts.User
PASSWORD_RESET_TIMEOUT=3600
SESSION_COOKIE_SECURE=True
CSRF_COOKIE_NAME: csrftoken
401 Unauthorized: missing API key
Error: invalid password
Incorrect password
invalid_token: the token has expired
KeyError: 'password'
TypeError: login() missing 1 required positional argument: 'password'
ValidationError: password: this field is required
openai.AuthenticationError: no API key provided
ConnectionError: no password supplied
fe_sendauth: no password supplied
Permission denied (publickey,password).
<password>****</password>
<label for="password">Password</label>
<input type="password" name="password" placeholder="Password">
<secret>${SECRET}</secret>
<h1>Password reset</h1>
## Authorization
| token | count |
- `password`: a string
`api_key` (str): key of the API
:param password: the password of the user
@param token the token to check
Args:\n    api_key: Key of the API.\n    password: Of the account.
the year 2024 budget: 1234567890 euros
phone: +49 30 1234567, order 0012345678
ISBN 978-3-16-148410-0
100%25 sure %20 spaces
a%3Db%26c%3Dd
Tom &amp; Jerry &lt;3
x = y &quot;quoted&quot;
caf\\u00e9 \\u0022quoted\\u0022
discount code: SUMMER
Promo code=WELCOME
secret santa: draws on Friday
password manager = useful
Passport number is not a password
author: Ann, authority: none
tokenizer=cl100k_base
model: gpt-4o-mini-2024-07-18
eos_token: </s>
pad_token=[PAD]
bos_token = <s>
next_page_token
sort_key=created_at
partition_key: customer
cache key: user-42
foreign key (author_id) references authors(id)
ssh-rsa is a key type
-----BEGIN CERTIFICATE-----
-----BEGIN PUBLIC KEY-----
Files start with -----BEGIN PRIVATE KEY----- and end alike.
commit: fix password validation
feat(auth): add token refresh
refactor: rename secret to credential
Passwort vergessen?
mot de passe: obligatoire
contraseña: mínimo 8 caracteres
密码：至少八个字符
""".strip().splitlines()

MAPPINGS: list[Any] = [
    {"cookie": "chocolate"}, {"authorization": "none required"}, {"password": ""}, {"password": None}, {"api_key": None},
    {"type": "image", "base64": "A" * 2_400},
    {"password": True}, {"token": " the"}, {"token": "internationalization"}, {"max_tokens": 100}, {"tokens": [1, 2, 3]},
    {"password": "required"}, {"password": ["This field is required."]}, {"password": "must be at least 8 characters"},
    {"api_key": "${API_KEY}"}, {"api_key": "<your key>"}, {"password": "********"}, {"secret": "****"},
    {"password": {"type": "string", "minLength": 8}}, {"required": ["password", "user"]}, {"fields": ["token", "password"]},
    {"key": "value"}, {"key": "name", "value": "Ann"}, {"name": "author", "value": "Ann"}, {"primary_key": "id"},
    {"public_key": "ssh-rsa"}, {"author": "Ann"}, {"keyboard": "qwerty"}, {"monkey": "x1"}, {"passenger": "Ann"},
    {"session_id": "5f2b8c1e9a7d4f60"}, {"request_id": "req_011CQ9k2mN4xYbZ7aWvT3sRu"}, {"id": "chatcmpl-9xYzAbC123dEfGhI"},
    {"tool_call_id": "call_Ab12Cd34Ef56Gh78Ij90Kl12"}, {"system_fingerprint": "fp_44709d6fcb"}, {"etag": 'W/"5e-18f"'},
    {"sha": "9fceb02d0ae598e95dc970b74767f19372d61af8"}, {"digest": "sha256:" + "ab12" * 16}, {"password_hint": "my dog"},
    {"token_type": "bearer"}, {"token_endpoint": "https://example.com/oauth/token"}, {"next_page_token": "CAUQAA12345678901"},
    {"api_key_name": "main"}, {"password_policy": "strong"}, {"cookie_policy": "strict"}, {"secretary": "Ann"},
    {"auth_method": "password"}, {"grant_type": "client_credentials"}, {"type": "password"}, {"type": "secret"},
    {"labels": {"password": "Password", "api_key": "API key"}}, {"error": "invalid_token"}, {"scope": "read:secrets"},
    {"args": ["--password", "--verbose"]}, {"args": ["git", "commit", "-m", "token"]}, ["token", "type"], ["password", "login"],
    {"embedding": [0.1, -0.2]}, {"logprobs": [{"token": "pass", "logprob": -1.5}, {"token": "word"}]},
]  # fmt: skip


def _generated_innocents(dice: Random) -> Iterator[Any]:
    words = "river stone token key garden password letter music author secret market cookie winter pass code".split()
    for _ in range(60):
        text = " ".join(dice.choices(words, k=dice.randint(6, 14))).capitalize()
        yield text + dice.choice(".!?:")
    for _ in range(15):
        yield f"{dice.getrandbits(160):040x} Fix the {dice.choice(words)} of the {dice.choice(words)}"
        yield f"commit {dice.getrandbits(160):040x}\nAuthor: Ann <ann@example.com>\n\n    Rename {dice.choice(words)}"
        yield f"sha256:{dice.getrandbits(256):064x}"
        hexed = f"{dice.getrandbits(128):032x}"
        identifier = f"{hexed[:8]}-{hexed[8:12]}-{hexed[12:16]}-{hexed[16:20]}-{hexed[20:]}"
        yield {"id": identifier, "trace_id": identifier}
        yield f"run {identifier} took {dice.random():.3f} s"
        yield f"data:image/png;base64,{base64.b64encode(dice.randbytes(300)).decode()}"
        yield {"content": base64.b64encode(dice.randbytes(200)).decode()}
        yield {"score": dice.random(), "tokens": dice.randint(1, 10**9), "id": dice.getrandbits(60)}
        yield f"https://example.com/{dice.choice(words)}/{dice.getrandbits(32):08x}?page={dice.randint(1, 99)}&q={dice.choice(words)}"
        yield f"2024-0{dice.randint(1, 9)}-11T10:{dice.randint(10, 59)}:00Z INFO topic={dice.choice(words)} n={dice.randint(1, 999)}"
        yield f"{dice.randint(1, 255)}.{dice.randint(1, 255)}.0.1:{dice.randint(1000, 9999)} GET /{dice.choice(words)}"


def innocents(seed: int) -> list[Any]:
    """Return values without secrets that resemble those with."""
    return [*CODE, *PROSE, *MAPPINGS, *_generated_innocents(Random(seed))]
