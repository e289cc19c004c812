"""Asks with langchain's client of OpenAI. Usage: langchain_openai_client.py URL KEY EXPECTED_FILE"""

import json
import sys
from array import array
from pathlib import Path

from langchain_openai import OpenAIEmbeddings

url, key, expected_file = sys.argv[1:]
expected = {text: array("f", vector) for text, vector in json.loads(Path(expected_file).read_text()).items()}
embeddings = OpenAIEmbeddings(model="tiny", base_url=f"{url}/v1", api_key=key, check_embedding_ctx_length=False)
assert [array("f", vector) for vector in embeddings.embed_documents(list(expected))] == list(expected.values())
text = next(iter(expected))
assert array("f", embeddings.embed_query(text)) == expected[text]
