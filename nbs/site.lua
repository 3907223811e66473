-- What every page gets when Quarto renders it:
-- * search finds its description and all of its introduction; Quarto indexes only the paragraphs of the latter
-- * mathematics stands in a box of its own, which can scroll where the page is narrow
-- * a tutorial starts with a link that opens it in Colab
local colab = 'https://colab.research.google.com/github/causaldiffae/causaldiffae/blob/main/nbs/tutorials/'

local function searched(blocks) return pandoc.Div(blocks, {class='quarto-include-in-search-index'}) end

local function boxed(math)
  return pandoc.Span({math}, {class=math.mathtype=='DisplayMath' and 'math display' or 'math inline'})
end

function Pandoc(doc)
  if not quarto.doc.is_format('html') then return nil end
  doc = doc:walk{Math=boxed}
  local blocks, intro = pandoc.Blocks{}, true
  local tutorial = quarto.doc.input_file:match('tutorials[/\\]([%w_]+)%.ipynb$')
  if tutorial then
    local link = pandoc.Link('Open in Colab', colab .. tutorial .. '.ipynb')
    blocks:insert(pandoc.Div(pandoc.Plain{link}, {class='colab'}))
  end
  if doc.meta.description then
    local text = pandoc.utils.stringify(doc.meta.description)
    blocks:insert(pandoc.Div(pandoc.Plain{pandoc.Str(text)}, {class='quarto-include-in-search-index', hidden='hidden'}))
  end
  for _, block in ipairs(doc.blocks) do
    intro = intro and block.t ~= 'Header'
    local listed = intro and (block.t=='BulletList' or block.t=='OrderedList' or block.t=='BlockQuote'
                              or block.t=='DefinitionList' or block.t=='Table')
    blocks:insert(listed and searched{block} or block)
  end
  doc.blocks = blocks
  return doc
end
