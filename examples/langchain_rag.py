"""A LangChain retrieval chain: one handler records retrieval, prompt and answer as a tree."""

from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from fluxloop.testing import capture
from fluxloop_langchain import FluxLoopCallbackHandler

PAGES = [
    Document("The museum opens at nine.", metadata={"page": 3}),
    Document("Dogs stay outside.", metadata={"page": 8}),
]


class Handbook(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager):
        return [page for page in PAGES if "open" in query and "opens" in page.page_content]


def numbered(pages: list[Document]) -> str:
    return "\n".join(f"[{page.metadata['page']}] {page.page_content}" for page in pages)


find = RunnableLambda(lambda given: given["question"]) | Handbook() | numbered
prompt = ChatPromptTemplate.from_template("{context}\n\nQuestion: {question}")
model = GenericFakeChatModel(messages=iter([AIMessage("At nine [3].")]))
chain = RunnablePassthrough.assign(context=find) | prompt | model | StrOutputParser()

with capture() as captured:
    config = {"callbacks": [FluxLoopCallbackHandler()], "metadata": {"session_id": "visit-7"}}
    for piece in chain.with_config(run_name="handbook").stream({"question": "When does it open?"}, config):
        print(piece, end="|")
print("", captured.outline(), sep="\n")

# prints:
# At| |nine| |[3].|
# CHAIN handbook -> 'At nine [3].'
#   CHAIN RunnableLambda -> 'When does it open?'
#   RETRIEVAL Handbook -> [{'page_content': 'The museum opens at nine.', 'metadata': …
#   CHAIN numbered -> '[3] The museum opens at nine.'
#   GENERATION GenericFakeChatModel -> {'role': 'assistant', 'content': 'At nine [3].'}
